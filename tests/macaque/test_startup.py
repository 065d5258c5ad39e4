from __future__ import annotations

import pytest

import macaque
from macaque.registry import Registry
from macaque.startup import Startup

ONE, TWO = Registry().add("one", "w", 1, len), Registry().add("two", None, 1, len)


def test_it_is_over_when_every_service_is_confirmed() -> None:
    startup = Startup()
    startup.expect(ONE)
    startup.expect(TWO)
    assert not startup.confirm(TWO)
    with pytest.raises(macaque.ConnectionLost, match=r"did not confirm one \(share w\) within 5 s\."):
        startup.wait(0.0, 5.0)
    assert startup.confirm(ONE)
    startup.wait(0.0, 5.0)


def test_an_error_ends_it_until_the_next_start() -> None:
    startup = Startup()
    startup.expect(ONE)
    startup.fail(error := macaque.ConnectionLost("refused"))
    with pytest.raises(macaque.ConnectionLost) as raised:
        startup.wait(0.0, 5.0)
    assert raised.value is error
    startup.begin()
    startup.wait(0.0, 5.0)
