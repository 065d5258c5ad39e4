"""MQ Light messaging for Python 3: send to topics, listen to topic patterns, share the work.

    import mqlight

    client = mqlight.Client("amqp://127.0.0.1:5672")
    client.subscribe("news/#", on_message=lambda kind, data, delivery: print(data))
    client.send("news/local", "Hello")

`Client` is the MQ Light API. `Connection` is the layer below it: encoded messages, outcomes and credit.

    connection = mqlight.Connection(mqlight.Addresses.of("amqp://127.0.0.1:5672"), "my-id")

    def on_delivery(delivery):
        print(mqlight.decode(delivery.message).body)
        delivery.accept()

    connection.subscribe("news/#", lane=connection.lane(1), on_delivery=on_delivery)
    connection.start()
    connection.publish("news/local", mqlight.encode(mqlight.Message(body="Hello", to="news/local")))

To run a server for development, use `python -m mqlight.server`.
"""

from __future__ import annotations

from mqlight.addresses import Addresses, Endpoint
from mqlight.amqp.capabilities import Marks
from mqlight.amqp.message import Message, MessageError, decode, encode
from mqlight.amqp.types import Condition, Outcome, Peer
from mqlight.arguments import QOS_AT_LEAST_ONCE, QOS_AT_MOST_ONCE
from mqlight.client import Client
from mqlight.connection import Connection, State
from mqlight.delivery import Delivery
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
from mqlight.net.crew import Lane
from mqlight.payload import MALFORMED, MESSAGE
from mqlight.security import Security
from mqlight.subscription import Subscription

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
    "Addresses",
    "Client",
    "Condition",
    "Connection",
    "Delivery",
    "Endpoint",
    "InternalError",
    "InvalidArgumentError",
    "Lane",
    "MQLightError",
    "Marks",
    "Message",
    "MessageError",
    "NetworkError",
    "NotPermittedError",
    "Outcome",
    "Peer",
    "RangeError",
    "ReplacedError",
    "Security",
    "SecurityError",
    "State",
    "StoppedError",
    "SubscribedError",
    "Subscription",
    "UnsubscribedError",
    "__version__",
    "decode",
    "encode",
]

STARTED = State.STARTED.value
STARTING = State.STARTING.value
STOPPED = State.STOPPED.value
STOPPING = State.STOPPING.value
RETRYING = State.RETRYING.value
"""The states of a client, as `Client.state` returns them."""
ERROR = "error"
DRAIN = "drain"
"""The names of the other events of the MQ Light API."""


def __getattr__(name: str) -> str:
    """Return `__version__`. It is read only on request, because reading it takes longer than all imports."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("macaque-amqp")
    except PackageNotFoundError:  # run from a source tree that is not installed
        return "0+unknown"
