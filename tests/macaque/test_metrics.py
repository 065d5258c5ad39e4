from __future__ import annotations

import macaque.metrics
import macaque.observe.metrics


def test_the_public_names_are_those_of_the_folder() -> None:
    for name in macaque.metrics.__all__:
        assert getattr(macaque.metrics, name) is getattr(macaque.observe.metrics, name)
