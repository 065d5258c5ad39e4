from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from macaque.clocks import Clocks

NOW = 1_700_000_000_000.0
"""This machine's clock, in ms since 1970."""


@pytest.fixture
def clocks(caplog: pytest.LogCaptureFixture) -> Callable[..., str | None]:
    """Compares clocks, and returns what was logged of that, from the number on."""
    compared = Clocks()

    def compare(expires: float, ttl: int, now: float, *, counted_down: bool) -> str | None:
        caplog.clear()
        compared.compare("response/me", expires, ttl, now, counted_down=counted_down)
        found = re.search(r"the clock of response/me is ([^.]+\.\d s .* machine's)", caplog.text)
        return found and found[1]

    return compare


@pytest.mark.parametrize("counted_down", [True, False])
@pytest.mark.parametrize("difference", [-1.9, 0.0, 1.9])
def test_clocks_that_agree_but_for_the_way_of_a_message_are_not_told(
    clocks: Callable[..., str | None], difference: float, counted_down: bool
) -> None:
    assert clocks(NOW + 30_000 + difference * 1000, 30_000, NOW, counted_down=counted_down) is None


@pytest.mark.parametrize("counted_down", [True, False])
def test_a_caller_whose_clock_is_ahead_is_told_with_the_size(
    clocks: Callable[..., str | None], counted_down: bool
) -> None:
    said = clocks(NOW + 37_500, 30_000, NOW, counted_down=counted_down)
    assert said == "7.5 s ahead of this machine's"
    assert clocks(NOW + 37_500, 30_000, NOW, counted_down=counted_down) is None


def test_a_caller_whose_clock_is_behind_is_told_where_the_broker_counts_the_time_down(
    clocks: Callable[..., str | None],
) -> None:
    assert clocks(NOW + 20_000, 30_000, NOW, counted_down=True) == "10.0 s behind this machine's"


def test_a_request_that_has_waited_at_a_broker_that_does_not_count_down_says_nothing_about_clocks(
    clocks: Callable[..., str | None],
) -> None:
    assert clocks(NOW + 20_000, 30_000, NOW, counted_down=False) is None
    assert clocks(NOW - 4_000, 30_000, NOW, counted_down=False) == "4.0 s behind this machine's"


def test_an_absurd_difference_is_told_in_a_short_line(clocks: Callable[..., str | None]) -> None:
    said = clocks(1e308, 30_000, NOW, counted_down=True)
    assert said is not None and len(said) < 60
