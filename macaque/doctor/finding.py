"""The findings of `macaque doctor`: one line for each step, and the limits of each dialect."""

from __future__ import annotations

import enum

import msgspec

__all__ = ["LIMITS", "Finding", "Status"]


class Status(str, enum.Enum):
    """The result of a step. A warning does not stop the examination."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The finding of one step."""

    step: str
    """`name`, `tcp`, `tls`, `login`, `broker`, `limit`, `replies`, `share`, `send`, `reply`, `dead letters`, `cancel`,
    `stream`, `discovery`, `call`, `size` or `forget`."""
    status: Status
    said: str
    """The result in words."""
    advice: str | None = None
    """The remedy; None if the status is ok."""
    url: str
    """The tested address, without user and password."""


_SILENT = (
    "the broker does not report a missing service: such a call ends in Timeout, not at once in NoResponders",
    "give each call a timeout that you can wait for",
)
_TWINS = (
    "the broker accepts two clients with the same id; the second one does not replace the first one",
    "leave out cid, so that each program gets an id of its own",
)

LIMITS: dict[str, tuple[tuple[str, str], ...]] = {
    "mqlight": (),
    "rabbitmq": (("a topic can have at most 255 bytes", "keep topics shorter"), _TWINS),
    "artemis": (
        _SILENT,
        (
            "a destination has no time to live; it exists until its client unsubscribes",
            "delete the destinations of killed clients yourself",
        ),
        _TWINS,
        (
            "the broker does not count every delivery to a worker that died; a request may get too many attempts",
            "watch for requests that are delivered again and again",
        ),
    ),
    "ibm-mq": (
        _SILENT,
        (
            "a worker cannot reject a message; it accepts and logs a message that it cannot read",
            "look for such messages in the logs of the workers",
        ),
    ),
    "plain": (
        _SILENT,
        (
            "the broker has no wildcards, so services need exact topics, and there are no dead letters",
            "if docs/brokers.md lists the broker, name its dialect in the URL with ?dialect=",
        ),
    ),
}
"""For each dialect: features that do not work as with the embedded server, and the remedies. See docs/brokers.md."""
