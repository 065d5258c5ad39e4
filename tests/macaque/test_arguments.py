from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from macaque.arguments import LONGEST, check_callback, checked_number, checked_seconds, checked_uuid


def test_seconds_are_returned_as_a_float() -> None:
    assert checked_seconds(3) == 3.0 and isinstance(checked_seconds(3), float)
    assert checked_seconds(LONGEST) == LONGEST


@pytest.mark.parametrize(
    "check, kind, said",
    [
        (lambda: checked_seconds("3"), TypeError, "The timeout '3' is not a number of seconds."),
        (lambda: checked_seconds(True), TypeError, "The timeout True is not a number of seconds."),
        (lambda: checked_seconds(0, "ttl", 60), ValueError, "The ttl 0 is not between 0 and 60 seconds."),
        (lambda: checked_seconds(float("nan")), ValueError, "The timeout nan is not between 0 and 2592000 seconds."),
        (lambda: checked_number(2.0, "credit", 1, 5, "how many"), TypeError, "The credit 2.0 is not an int; give how"),
        (lambda: checked_number(6, "credit", 1, 5, "how many"), ValueError, "The credit 6 is not between 1 and 5."),
        (lambda: checked_uuid(7), TypeError, "The uuid 7 is not a str."),
        (lambda: checked_uuid("a\nb"), ValueError, "The uuid 'a\\nb' needs 1 to 256 characters that can be printed."),
        (lambda: check_callback(7), TypeError, "The callback 7 is not a function."),
    ],
)  # fmt: skip
def test_an_argument_that_cannot_work_is_named_with_what_would(
    check: Callable[[], Any], kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind) as raised:
        check()
    assert str(raised.value).startswith(said)


def test_what_can_work_is_returned() -> None:
    assert checked_number(5, "credit", 1, 5, "how many") == 5
    assert checked_uuid("pay-1") == "pay-1"
    check_callback(print)
