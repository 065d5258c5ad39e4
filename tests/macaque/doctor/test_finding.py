from __future__ import annotations

from collections.abc import Callable

from examining import examine
from macaque.doctor.finding import LIMITS
from mqlight.dialects import DIALECTS
from processes import Server


def test_what_a_dialect_cannot_do_is_a_warning(started: Callable[..., Server]) -> None:
    findings = examine("--broker", started("--like-ibm-mq").url)
    limits = [finding for finding in findings if finding["status"] == "warning"]
    assert [finding["step"] for finding in limits] == ["limit"] * len(LIMITS["ibm-mq"])
    assert "Timeout" in limits[0]["said"]


def test_each_dialect_has_its_limits_written_down() -> None:
    assert set(LIMITS) == set(DIALECTS)
