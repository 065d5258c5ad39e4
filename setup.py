"""The parts of the build that pyproject.toml cannot state.

On PyPI the README's links and picture are absolute. Where there is a C compiler, mypyc compiles the modules of the path
of the messages; without one, or with ``MACAQUE_PURE=1``, they are installed as they are. Both do the same.
"""

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_ext import build_ext

SOURCE = "https://github.com/macaque-amqp/macaque"
COMPILED = [
    "mqlight/amqp/channels.py",
    "mqlight/amqp/connection.py",
    "mqlight/amqp/dispositions.py",
    "mqlight/amqp/engine.py",
    "mqlight/amqp/fast_frames.py",
    "mqlight/amqp/fast_messages.py",
    "mqlight/amqp/frames.py",
    "mqlight/amqp/greeting.py",
    "mqlight/amqp/heartbeat.py",
    "mqlight/amqp/incoming.py",
    "mqlight/amqp/link.py",
    "mqlight/amqp/opening.py",
    "mqlight/amqp/output.py",
    "mqlight/amqp/sasl.py",
    "mqlight/amqp/sending.py",
    "mqlight/amqp/session.py",
    "mqlight/amqp/termini.py",
    "mqlight/amqp/unsent.py",
    "mqlight/delivery.py",
    "mqlight/inbox.py",
    "mqlight/net/clock.py",
    "mqlight/net/crew.py",
    "mqlight/net/driver.py",
    "mqlight/net/tcp.py",
    "mqlight/net/tls.py",
    "mqlight/net/waiters.py",
    "mqlight/outbox.py",
    "mqlight/outlet.py",
    "mqlight/protocol.py",
    "mqlight/receiver.py",
    "mqlight/senders.py",
    "mqlight/server/broker.py",
    "mqlight/server/capacity.py",
    "mqlight/server/client.py",
    "mqlight/server/destination.py",
    "mqlight/server/directory.py",
    "mqlight/server/dispatcher.py",
    "mqlight/server/grants.py",
    "mqlight/server/ibm_mq.py",
    "mqlight/server/links.py",
    "mqlight/server/protocol.py",
    "mqlight/server/records.py",
    "mqlight/server/sources.py",
    "mqlight/subscription.py",
    "mqlight/subscriptions.py",
]
"""The path of the messages. An editable install runs them as they are, so that a change is seen at once.

These stay plain: `codec`, `decoder`, `sections`, `message` and `publication`, because values there are subclasses of
int, str and bytes, which compiled code takes for their bases, and because nothing usual goes through the first four;
`outgoing` and `queued`, which are msgspec's; `topics`, which is asked about what is no text; and `mqlight/connection`,
to which there are weak references.
"""
COMMANDS = {"bdist_wheel", "build", "build_ext", "install"}
TYPE_CHECK = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]


def readme() -> str:
    """Return README.md with absolute links: PyPI shows it apart from the files that it links to."""
    text = Path(__file__).with_name("README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^\]]*\]\()(?!https?:)", rf"\1{SOURCE}/raw/main/", text)
    return re.sub(r"((?<!!)\[[^\]]*\]\()(?!https?:|#)", rf"\1{SOURCE}/blob/main/", text)


def can_compile() -> bool:
    """Return whether a C compiler and Python's headers are there, and wanted."""
    if os.environ.get("MACAQUE_PURE"):
        return False
    from setuptools._distutils.ccompiler import new_compiler
    from setuptools._distutils.sysconfig import customize_compiler, get_python_inc

    folder = tempfile.mkdtemp()
    try:
        source = Path(folder, "there.c")
        source.write_text("#include <Python.h>\n", encoding="utf-8")
        compiler = new_compiler()
        customize_compiler(compiler)
        compiler.compile([str(source)], output_dir=folder, include_dirs=[get_python_inc()])
    except Exception as error:  # whatever stands in the way: it works without
        print(f"macaque is installed as plain Python: {error}", file=sys.stderr)
        return False
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return True


def extensions() -> list:
    """Return the compiled modules, none when mypyc is not there or fails."""
    if not COMMANDS & set(sys.argv) or not can_compile():
        return []
    try:
        from mypyc.build import mypycify

        return mypycify([*TYPE_CHECK, *COMPILED], opt_level="3", debug_level="0", group_name="mqlight")
    except (Exception, SystemExit) as error:  # mypyc ends the process when it cannot go on
        print(f"macaque is installed as plain Python: mypyc failed: {error}", file=sys.stderr)
        return []


class BuildOrGoWithout(build_ext):
    """Build all compiled modules, or none of them."""

    def run(self) -> None:
        try:
            super().run()
        except Exception as error:
            print(f"macaque is installed as plain Python: {error}", file=sys.stderr)
            for built in self.get_outputs():
                Path(built).unlink(missing_ok=True)
            self.extensions = []


setup(
    long_description=readme(),
    long_description_content_type="text/markdown",
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildOrGoWithout},
    # Asked for only where it can be used: an install without a compiler needs nothing of it.
    setup_requires=["mypy>=1.16"] if "egg_info" in sys.argv and can_compile() else [],
)
