"""Speak AMQP 1.0 without input or output: either end of one connection, bytes in and events out.

:class:`Engine` is the connection. :class:`Link` is one end of a link. docs/amqp.md shows a sender and a receiver.
``COMPILED`` says whether the modules run compiled by mypyc or as plain Python.
"""

from mqlight.amqp.connection import ConnectionHandler, Handler
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link, LinkHandler
from mqlight.amqp.types import Condition, Handle, Outcome, Peer, Terminus

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
