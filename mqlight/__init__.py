"""MQ Light messaging for Python 3: send to topics, listen to topic patterns, share the work.

    import mqlight

    client = mqlight.Client("amqp://127.0.0.1:5672")
    client.subscribe("news/#", on_message=lambda kind, data, delivery: print(data))
    client.send("news/local", "Hello")

`Client` is the MQ Light API. `Connection` is the layer below it: encoded messages, outcomes and credit. To run a server
for development, use `python -m mqlight.server`.
"""

from __future__ import annotations

from mqlight.amqp.message import Message
from mqlight.arguments import QOS_AT_LEAST_ONCE, QOS_AT_MOST_ONCE
from mqlight.client import Client
from mqlight.connection import Connection
from mqlight.errors import (
    InternalError,
    InvalidArgumentError,
    MQLightError,
    NetworkError,
    NotPermittedError,
    RangeError,
    ReplacedError,
    SecurityError,
    StoppedError,
    SubscribedError,
    UnsubscribedError,
)
from mqlight.payload import MALFORMED, MESSAGE

__all__ = [
    "DRAIN",
    "ERROR",
    "MALFORMED",
    "MESSAGE",
    "QOS_AT_LEAST_ONCE",
    "QOS_AT_MOST_ONCE",
    "RETRYING",
    "STARTED",
    "STARTING",
    "STOPPED",
    "STOPPING",
    "Client",
    "Connection",
    "InternalError",
    "InvalidArgumentError",
    "MQLightError",
    "Message",
    "NetworkError",
    "NotPermittedError",
    "RangeError",
    "ReplacedError",
    "SecurityError",
    "StoppedError",
    "SubscribedError",
    "UnsubscribedError",
    "__version__",
]

STARTED = "started"
STARTING = "starting"
STOPPED = "stopped"
STOPPING = "stopping"
RETRYING = "retrying"
ERROR = "error"
DRAIN = "drain"


def __getattr__(name: str) -> str:
    """Return `__version__`. It is read only on request, because reading it takes longer than all imports."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("macaque-amqp")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
