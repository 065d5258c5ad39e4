from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from macaque.observe.figures import RECENT, Figures


def test_a_service_without_requests_has_no_percentiles() -> None:
    figures = Figures()
    assert (figures.calls, figures.errors, figures.percentile(50)) == (0, 0, None)


def test_percentiles_are_those_of_the_recent_requests() -> None:
    figures = Figures()
    for number in range(1, 101):
        figures.end(float(number), number % 10 == 0)
    assert (figures.calls, figures.errors) == (100, 10)
    assert (figures.percentile(50), figures.percentile(99)) == (51.0, 100.0)
    for _ in range(RECENT):
        figures.end(0.5, False)
    assert figures.percentile(99) == 0.5 and figures.calls == 100 + RECENT


def test_an_overrun_is_one_error_and_its_end_one_request() -> None:
    figures = Figures()
    figures.overrun()
    assert (figures.calls, figures.errors) == (0, 1)
    figures.end(9.0, False)
    assert (figures.calls, figures.errors) == (1, 1)


def test_threads_that_end_requests_together_lose_none() -> None:
    figures = Figures()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: figures.end(0.1, True), range(4000)))
    figures.end(0.1, True)
    assert (figures.calls, figures.errors) == (4001, 4001)
