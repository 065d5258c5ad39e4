from __future__ import annotations

import pytest

from macaque.gateway.places import Places
from macaque.http.answer import Problem


def test_there_are_so_many_places_at_a_time() -> None:
    places = Places(2, "calls")
    places.take()
    places.take()
    with pytest.raises(Problem, match="The gateway has 2 calls at the moment") as raised:
        places.take()
    assert raised.value.status == 503 and raised.value.retryable
    places.free()
    places.take()
    assert places.taken == 2
