"""Flask-style microservices over AMQP 1.0: `@app.service('topic')` serves, `client.call()` calls."""

from macaque.call import Call
from macaque.client import Client
from macaque.errors import ConnectionLost, MacaqueError, NoResponders, RemoteError, Timeout, abort
from macaque.server import Server

__all__ = [
    "Call",
    "Client",
    "ConnectionLost",
    "MacaqueError",
    "NoResponders",
    "RemoteError",
    "Server",
    "Timeout",
    "__version__",
    "abort",
]


def __getattr__(name: str) -> str:
    """Return `__version__`, which is read only on request."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import mqlight

    return mqlight.__version__
