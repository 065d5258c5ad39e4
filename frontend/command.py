"""The command that starts another worker, and the address of the server's console, for people on this machine. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping

DEFAULT_BROKERS = ("", "amqp://127.0.0.1:5672", "amqp://127.0.0.1", "amqp://localhost:5672", "amqp://localhost")
ENDPOINT = r"amqps?://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?/?"
PLAIN_URL = re.compile(rf"{ENDPOINT}(,{ENDPOINT})*(\?(?!.*(?i:pass|secret|token|key))[\w.=&/-]*)?")
ANYWHERE = {"command": "python -m backend"}
"""The command for clients on other machines, which need not know the folders of this machine."""
CONSOLE = re.compile(r"http://127\.0\.0\.1:\d{1,5}/")
NOTE = "Set MACAQUE_BROKER first, as it is set for the front end: its password is not shown here."


def worker(environ: Mapping[str, str], python: str, folder: str) -> dict[str, str]:
    """Return `command`, and a `note` if the command alone is not enough. They contain no part of a password.

    `python` is the path of the interpreter that runs the front end, and `folder` holds the package `backend`.
    """
    if "VCAP_APPLICATION" in environ:
        name = re.search(r'"application_name"\s*:\s*"([\w.-]*frontend[\w.-]*)"', environ["VCAP_APPLICATION"])
        return {"command": f"cf scale {name[1].replace('frontend', 'backend') if name else 'fishalive-backend'} -i 2"}
    if "KUBERNETES_SERVICE_HOST" in environ:
        return {"command": "kubectl scale deployment/fishalive-backend --replicas=2"}
    broker = environ.get("MACAQUE_BROKER", "")
    command = f"cd {shlex.quote(folder)} && "
    start = f"{shlex.quote(python.removeprefix(folder.rstrip('/') + '/'))} -m backend"
    if broker.rstrip("/") in DEFAULT_BROKERS:
        return {"command": command + start}
    if PLAIN_URL.fullmatch(broker):
        return {"command": f"{command}MACAQUE_BROKER={shlex.quote(broker)} {start}"}
    return {"command": command + start, "note": NOTE}


def console(broker_properties: Mapping[str, object]) -> dict[str, str]:
    """Return the address of the broker's console, if the broker has one and runs on this machine."""
    address = str(broker_properties.get("console"))
    return {"console": address} if CONSOLE.fullmatch(address) else {}
