from __future__ import annotations

import pytest

from macaque.gateway.rates import Rates
from macaque.http.answer import Problem


def test_each_caller_has_a_rate_of_its_own() -> None:
    rates = Rates("2/hour")
    for _ in range(2):
        rates.hit("a")
    with pytest.raises(Problem) as raised:
        rates.hit("a")
    rates.hit("b")
    assert raised.value.status == 429 and raised.value.retryable
    assert 1 <= int(dict(raised.value.headers)["Retry-After"]) <= 3600


def test_without_a_rate_there_is_no_limit() -> None:
    rates = Rates(None)
    for _ in range(1000):
        rates.hit("a")


@pytest.mark.parametrize("rate", ["often", "", "0/second", "-1/second"])
def test_a_rate_has_a_form_and_lets_a_request_through(rate: str) -> None:
    with pytest.raises(ValueError):
        Rates(rate)
