"""Flask-style microservices over AMQP 1.0: `@app.service('topic')` serves, `client.call()` calls."""

from macaque.blueprint import Blueprint
from macaque.call import Call
from macaque.client import Client
from macaque.config import Config
from macaque.context import Request, detached, request
from macaque.errors import (
    Cancelled,
    ConnectionLost,
    MacaqueError,
    NoResponders,
    RemoteError,
    StreamBroken,
    Timeout,
    abort,
)
from macaque.hooks import Reply
from macaque.mapping import Results
from macaque.server import Server
from macaque.stream import Stream

__all__ = [
    "Blueprint",
    "Call",
    "Cancelled",
    "Client",
    "Config",
    "ConnectionLost",
    "MacaqueError",
    "NoResponders",
    "RemoteError",
    "Reply",
    "Request",
    "Results",
    "Server",
    "Stream",
    "StreamBroken",
    "Timeout",
    "__version__",
    "abort",
    "detached",
    "request",
]


def __getattr__(name: str) -> str:
    """Return `__version__`, which is read only on request."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import mqlight

    return mqlight.__version__
