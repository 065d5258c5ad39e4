"""Read sources and targets from an attach frame, and write them (sections 3.5.3, 3.5.4, 4.5.1)."""

from __future__ import annotations

from typing import Any, Final

from mqlight.amqp.frames import U32, Fields, GarbledError, few_enough, symbol_array
from mqlight.amqp.types import Terminus
from mqlight.amqp.values import Array, Described, Symbol, Uint, Ulong

SOURCE: Final = 0x28
TARGET: Final = 0x29
COORDINATOR: Final = 0x30
_OUTCOMES: Final = Array(
    "symbol",
    (
        Symbol("amqp:accepted:list"),
        Symbol("amqp:rejected:list"),
        Symbol("amqp:released:list"),
        Symbol("amqp:modified:list"),
    ),
)

_DELETE_ON_CLOSE: Final = {Symbol("lifetime-policy"): Described(Ulong(0x2B), [])}
"""The node is deleted with the link that created it (section 3.5.10)."""


def read_terminus(fields: Fields | None, code: int) -> Terminus:
    """Return the source or target of an attach: ``code`` says which. A null one has no address.

    Raises:
        GarbledError: the fields are invalid, or they are those of another kind of terminus.
    """
    source = code == SOURCE
    if fields is None:
        return Terminus(None)
    if fields.code == COORDINATOR and not source:
        return Terminus(None, coordinator=True, capabilities=fields.symbols(0))
    if fields.code != code:
        due = "source" if source else "target"
        raise GarbledError(f"a frame makes no sense: {fields.code:#x} stands where a {due} is due")
    address = fields.text(0)
    return Terminus(
        address=None if address is None else str(address),
        timeout=max(0, fields.number(3, U32)),
        dynamic=fields.flag(4),
        capabilities=fields.symbols(10 if source else 6),
        durable=fields.number(1, U32) > 0,
        never=fields.text(2) == "never",
        copy=source and fields.text(6) == "copy",
        filters=_filters(fields.any(7)) if source else (),
        outcomes=fields.symbols(9) if source else (),
    )


def _filters(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        return ("that is no map",)
    few_enough(len(value))
    return tuple([str(name) for name in value])


def wanted_terminus(terminus: Terminus, code: int) -> Any:
    """Return a terminus for an attach that this end sends first."""
    if terminus.coordinator:
        return Described(Ulong(COORDINATOR), [])
    durable: Any = None
    expiry: Any = None
    if terminus.timeout:
        expiry = Symbol("link-detach")
    if terminus.durable:
        durable, expiry = Uint(2), Symbol("never")
    timeout = Uint(terminus.timeout) if terminus.timeout else None
    return _terminus(code, terminus, durable, expiry, timeout, None)


def answered_terminus(granted: Terminus, remote: Fields | None, code: int, ours: bool) -> Any:
    """Return a terminus for an answer. An accepted link has both termini, even if the peer gave none (section 2.6.3).

    Args:
        granted: The terminus that the peer asked for, or the one that the link's owner set instead.
        remote: The fields that the peer gave.
        ours: Whether it is this end's terminus. The peer decides about its own.
    """
    if remote is not None and remote.code == COORDINATOR:
        return Described(Ulong(COORDINATOR), [symbol_array(granted.capabilities)])
    timeout = Uint(granted.timeout) if granted.timeout else None
    durable: Any = None
    expiry: Any = None
    if ours:
        durable = Uint(1) if granted.durable else None
        expiry = Symbol("never" if granted.never else "link-detach")
    elif remote is not None:
        durability, policy = remote.number(1, U32), remote.text(2)
        durable = Uint(durability) if durability > 0 else None
        expiry = None if policy is None else Symbol(policy.encode("ascii", "replace").decode())
    outcomes = None
    if code == SOURCE:
        outcomes = symbol_array(granted.outcomes) or (_OUTCOMES if ours else None)
    return _terminus(code, granted, durable, expiry, timeout, outcomes)


def _terminus(code: int, terminus: Terminus, durable: Any, expiry: Any, timeout: Any, outcomes: Any) -> Any:
    dynamic, properties = (True, _DELETE_ON_CLOSE) if terminus.dynamic else (None, None)
    fields: list[Any] = [terminus.address, durable, expiry, timeout, dynamic, properties]
    if code == SOURCE:
        fields += [None, None, None, outcomes]
    fields.append(symbol_array(terminus.capabilities))
    while fields and fields[-1] is None:
        fields.pop()
    return Described(Ulong(code), fields)
