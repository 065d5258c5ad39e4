"""Run the functions of a test file in a process whose threads are greenlets."""

from __future__ import annotations

import subprocess
import sys


def run_on_greenlets(path: str) -> list[str]:
    """Call `run_on_greenlets()` of a file in a process that gevent has patched. Return the lines that it prints."""
    program = (
        "from gevent import monkey; monkey.patch_all()\n"
        f"import sys; sys.path[:0] = {[path for path in sys.path if path]!r}\n"
        "import importlib.util\n"
        f"spec = importlib.util.spec_from_file_location('on_greenlets', {path!r})\n"
        "module = importlib.util.module_from_spec(spec); sys.modules['on_greenlets'] = module\n"
        "spec.loader.exec_module(module)\n"
        "module.run_on_greenlets()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
