from __future__ import annotations

import re

from macaque.ids import id_of_child, made_up_id


def test_each_id_that_is_made_up_is_another_one() -> None:
    assert re.fullmatch(r"macaque_[0-9a-f]{12}", made_up_id())
    assert len({made_up_id() for _ in range(1000)}) == 1000


def test_a_child_keeps_the_id_that_was_chosen_with_an_end_of_its_own() -> None:
    assert re.fullmatch(r"shop\.[0-9a-f]{8}", id_of_child("shop"))
    assert id_of_child("shop") != id_of_child("shop")
    assert id_of_child(None).startswith("macaque_")
