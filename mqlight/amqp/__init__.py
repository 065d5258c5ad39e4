"""AMQP 1.0 without any input or output: one connection, either end, bytes in and events out.

:class:`Engine` is the connection and :class:`Link` one end of a link; docs/amqp.md has a sender and a receiver.
``COMPILED`` says whether the modules run compiled by mypyc or as plain Python.
"""

from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.types import Condition, ConnectionHandler, Handle, Handler, LinkHandler, Outcome, Peer, Terminus

__all__ = [
    "COMPILED",
    "Condition",
    "ConnectionHandler",
    "Engine",
    "Handle",
    "Handler",
    "Link",
    "LinkHandler",
    "Outcome",
    "Peer",
    "Terminus",
]

COMPILED: bool = type(Engine.receive).__name__ != "function"
