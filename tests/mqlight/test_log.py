from __future__ import annotations

import functools
import logging
from collections.abc import Iterator

import pytest

from mqlight.log import Log, attempt, report

log = Log("tests.log")


class Broken(logging.Handler):
    """A handler of the application that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise OSError("the disk is full")


@pytest.fixture
def broken() -> Iterator[None]:
    logger, handler = logging.getLogger("tests.log"), Broken()
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def fail() -> None:
    raise KeyError("no")


@pytest.mark.parametrize("name", ["debug", "info", "warning", "error", "exception"])
def test_a_line_has_its_level_its_arguments_and_the_place_of_the_call(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        getattr(log, name)("%s of %d", "one", 2)
    (record,) = caplog.records
    assert (record.name, record.getMessage(), record.funcName) == (
        "tests.log", "one of 2", "test_a_line_has_its_level_its_arguments_and_the_place_of_the_call",
    )  # fmt: skip
    assert record.levelname == ("ERROR" if name == "exception" else name.upper())
    assert (record.exc_info is not None) == (name == "exception")


def test_a_handler_that_raises_costs_the_line_and_nothing_else(broken: None) -> None:
    log.log(logging.WARNING, "lost")
    log.warning("lost")
    try:
        fail()
    except KeyError:
        log.exception("lost")
        report(log, fail)
    attempt(log, fail)


def test_an_attempt_that_fails_is_logged_with_the_name_of_its_function(caplog: pytest.LogCaptureFixture) -> None:
    attempt(log, functools.partial(fail))
    (record,) = caplog.records
    assert record.getMessage() == "fail failed"
    assert record.exc_info is not None


def test_a_report_about_an_object_that_cannot_be_named_raises_nothing() -> None:
    class Nameless:
        def __getattr__(self, name: str) -> object:
            raise SystemExit(name)

    report(log, Nameless())


def test_text_from_outside_makes_no_line_of_its_own_whatever_the_formatter(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        log.info("from %s: %r, %s, %d, %.1f", "a\nFAKE\x1b[2J\u2028", "t\n", ValueError("b\nc"), 5, 0.25)
        log.info("%s", "x" * 1_000_000)
    first, second = (record.getMessage() for record in caplog.records)
    assert first == "from a\\nFAKE\\x1b[2J\\u2028: 't\\\\n', b\\nc, 5, 0.2"
    assert len(second) == 10_000


def test_an_exit_in_a_handler_passes_where_it_may_be_meant_for_the_user(caplog: pytest.LogCaptureFixture) -> None:
    def leave(record: logging.LogRecord) -> bool:
        raise SystemExit(3)

    logger = logging.getLogger("tests.log")
    logger.addFilter(leave)
    try:
        with pytest.raises(SystemExit):
            log.warning("passes")
        Log("tests.log", BaseException).warning("contained")
    finally:
        logger.removeFilter(leave)
