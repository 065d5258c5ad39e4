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
    "abort",
]
