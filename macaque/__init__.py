"""Flask-style microservices over AMQP 1.0: `@app.service('topic')` serves, `client.call()` calls."""

from macaque.client import Client
from macaque.errors import ConnectionLost, MacaqueError, NoResponders, RemoteError, Timeout, abort
from macaque.server import Server

__all__ = [
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
    """Return `__version__`, which is read when it is asked for."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import mqlight

    return mqlight.__version__
