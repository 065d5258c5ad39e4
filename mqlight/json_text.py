"""The application's data as JSON, without silent changes.

The rules of this file:

* The table in docs/services.md tells what each type becomes; each line of it has a test.
* NaN and infinities are refused with their place, although JSON encoders often write null for them. A value that JSON
  cannot represent is refused with its type.
* Subclasses of text, numbers, bytes and times are sent as their base: safe strings, numpy scalars, AMQP's integers.
* A model of pydantic is sent as its own JSON, with the aliases of its fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from operator import index
from typing import Any

import msgspec

__all__ = ["encode_json", "refuse_nan", "short", "to_json"]


def encode_json(data: object) -> bytes:
    """Return the JSON of the application's data.

    Raises:
        TypeError: JSON cannot represent a value in the data.
        ValueError: the data has NaN, an infinity, or text that UTF-8 cannot carry.
        RecursionError: the data is nested too deeply, or contains itself.
        BufferError: the data has a memoryview whose bytes are not contiguous.
    """
    text = to_json(data)
    if b"null" in text:
        refuse_nan(data)
    return text


def short(value: object) -> str:
    """Return a value as an error shows it, in at most 80 characters."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return text if len(text) <= 80 else text[:77] + "..."


def _base(value: Any) -> object:
    """Return a value of a subclass as its base type. Raises TypeError if JSON cannot represent the value."""
    kind = type(value)
    if kind in _ONLY_KEYS:
        raise TypeError(f"the key {short(value)} is of type {kind.__name__}; a key in JSON is text")
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (bytes, bytearray)):
        return memoryview(value)
    if isinstance(value, timedelta):
        return timedelta(value.days, value.seconds, value.microseconds)
    if isinstance(value, Decimal):
        return Decimal(value)
    if isinstance(value, datetime):
        return datetime(
            value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.tzinfo
        )
    if isinstance(value, date):
        return date(value.year, value.month, value.day)
    if isinstance(value, time):
        return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo)
    if hasattr(kind, "__pydantic_serializer__"):
        return value.model_dump(mode="json", by_alias=True)
    if getattr(value, "shape", None) == () and hasattr(kind, "item"):  # a scalar of numpy or a similar library
        return value.item()
    if hasattr(kind, "__index__") and not isinstance(value, type):
        return index(value)
    raise TypeError(f"{short(value)} is of type {kind.__name__}, which JSON cannot represent")


_ONLY_KEYS = (bool, type(None), tuple)
"""Types whose values msgspec encodes itself, so that a value of such a type in the hook is a key."""
to_json: Callable[[object], bytes] = msgspec.json.Encoder(enc_hook=_base).encode
"""Encode without a check for NaN. If the result has a null, call ``refuse_nan``."""


def refuse_nan(data: object) -> None:
    """Raise ValueError if there is a NaN or an infinity in ``data``, which msgspec writes as null."""
    if data is None or type(data) is msgspec.Raw:
        return
    plain = msgspec.to_builtins(data, str_keys=True, enc_hook=_base)
    try:
        json.dumps(plain, allow_nan=False)  # in C: data with a real null takes no more than twice its time
    except ValueError as error:
        place, value = _not_a_number(plain) or ("it", error)
        raise ValueError(f"{place} is {value}, a number that JSON cannot represent") from None


def _not_a_number(plain: Any) -> tuple[str, float] | None:
    """Return the place and the value of the first NaN or infinity."""
    waiting: list[tuple[str, Any]] = [("", plain)]
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, float) and not math.isfinite(value):
            return place or "it", value
        if isinstance(value, dict):
            waiting += [(f"{place}[{short(key)}]", item) for key, item in reversed(value.items())]
        elif isinstance(value, (list, tuple)):
            waiting += [(f"{place}[{number}]", item) for number, item in reversed(list(enumerate(value)))]
    return None
