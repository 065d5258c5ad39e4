"""URLs: split, shown, and refused with the reason."""

from __future__ import annotations

import pytest

from mqlight.errors import InvalidArgumentError
from mqlight.urls import options_of, shown, split, split_list, without_passwords


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("amqp://a", ["amqp://a"]),
        (" amqp://a , amqps://b:1,", ["amqp://a", "amqps://b:1"]),
        ("amqp://u:p,w@a,http://b/?x=1,2", ["amqp://u:p,w@a", "http://b/?x=1,2"]),
        ("", []),
    ],
)
def test_a_list_has_commas_and_so_may_a_url(text: str, urls: list[str]) -> None:
    assert split_list(text) == urls


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("amqp://fish:swim@host:5672?heartbeat=5", "amqp://host:5672?..."),
        ("http://fish:swim@host/a?key=swim&x=1#swim", "http://host/a?key=***&x=***#swim"),
        ("amqp://fish:swim", "amqp://fish:***"),
        ("amqp://user:12/34@host", "amqp://host"),
        ("amqp://[::1]:5672", "amqp://[::1]:5672"),
        ("host\nwith a line", "host\\nwith a line"),
    ],
)
def test_a_url_is_shown_without_its_user_and_password(url: str, text: str) -> None:
    assert shown(url) == text


def test_passwords_in_the_text_of_others_are_taken_out() -> None:
    assert without_passwords("no answer from amqp://fish:sw@im@host/x, sorry") == "no answer from amqp://host/x, sorry"


def test_the_user_and_the_password_are_decoded() -> None:
    parts, user, password = split("amqps://f%69sh:a%2Fb%23@host:1")
    assert (parts.hostname, parts.port, user, password) == ("host", 1, "fish", "a/b#")
    assert split("amqp://host")[1:] == (None, None)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("host", "it has no scheme"),
        (" amqp://host", "white space"),
        ("amqp://[::1", "nor an IP address"),
        ("amqp://host:0", "port"),
        ("amqp://ho st", "a space"),
        ("amqp://%ff:x@host", "codes of its user are not UTF-8"),
    ],
)
def test_what_is_no_url_is_refused_with_the_reason(url: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why) as caught:
        split(url)
    assert caught.value.argument == "service" and caught.value.value == shown(url)


def test_options_are_those_of_the_query() -> None:
    assert options_of("amqp://h", "vhost=a%2Fb&heartbeat=2.5") == {"vhost": "a/b", "heartbeat": "2.5"}
    assert options_of("amqp://h", "") == {}


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("vhost", "has no value; write name=value"),
        ("hartbeat=5", "did you mean heartbeat"),
        ("vhost=%0a", r"control character U\+000A"),
        ("heartbeat=0.5", "give a number of seconds from 1 to 3600"),
    ],
)
def test_an_option_that_cannot_be_is_refused(query: str, why: str) -> None:
    with pytest.raises(InvalidArgumentError, match=why):
        options_of("amqp://h", query)
