"""The findings of `macaque doctor`: one line for each step, and the limits of each dialect."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["LIMITS", "Finding", "Status"]


class Status(str, enum.Enum):
    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The finding of one step."""

    step: str
    """`name`, `tcp`, `tls`, `login`, `broker`, `limit`, `replies`, `share`, `send`, `reply`, `dead letters`, `call`,
    `size` or `forget`."""
    status: Status
    said: str
    advice: str | None = None
    """The remedy; None if the status is ok."""
    url: str
    """The tested address, without user and password."""


_SILENT = (
    "nobody says that no service listens: a call without a service ends in Timeout, and not at once in NoResponders",
    "give calls a timeout that is as long as you want to wait for that",
)
_TWINS = (
    "a second client with the same id does not replace the first one: both are connected",
    "let each program make its own id (no cid)",
)

LIMITS: dict[str, tuple[tuple[str, str], ...]] = {
    "mqlight": (),
    "rabbitmq": (("a topic has 255 bytes at the most", "keep topics shorter than that"), _TWINS),
    "artemis": (
        _SILENT,
        (
            "a destination has no time to live: it stays until it is unsubscribed from",
            "have an operator delete what clients that were killed have left",
        ),
        _TWINS,
        (
            "not each delivery to a worker that died is counted: a request may be tried more often than it should",
            "see to the requests that come again and again",
        ),
    ),
    "ibm-mq": (
        _SILENT,
        (
            "a message cannot be rejected: what a worker cannot read is accepted and logged",
            "look for it in the logs of the workers",
        ),
    ),
    "plain": (
        _SILENT,
        (
            "there are no wildcards: services listen to topics that are spelt out, and there are no dead letters",
            "name the dialect in the URL (?dialect=), if the broker is one of those in docs/brokers.md",
        ),
    ),
}
"""For each dialect: features that do not work as with the embedded server, and the remedies. See docs/brokers.md."""
