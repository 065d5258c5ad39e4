"""Where a request comes from, and who sends it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from frontend import security
from frontend.security import COMMON, Problem, Sessions

PLATFORM = {
    "HOST": "Fish.Internal",
    "VCAP_APPLICATION": json.dumps({"application_uris": ["fish.cf.example/path"], "uris": ["two.cf.example"]}),
    "RAILWAY_PUBLIC_DOMAIN": "fish.up.railway.app",
}


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "LOCALHOST:8000", "a.localhost:1", "127.0.0.1:8000", "10.1.2.3", "[::1]:8000", "fish.internal",
        "fish.cf.example", "two.cf.example:443", "fish.up.railway.app", "mine.example", "a.b.wide.example:80",
    ],
)  # fmt: skip
def test_a_known_host_name_and_any_address_are_served(host: str) -> None:
    known = security.known_hosts("mine.example, .wide.example", PLATFORM)
    security.check_host({"HTTP_HOST": host}, known)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "localhost.evil.example", "notlocalhost", "127.0.0.1.evil.example", "mine.example.evil.example",
        "x@localhost", "localhost:port", "localhost:80:80", "[::1", "[evil]:80", "1.2.3", "wide.example.", "*",
        "a,localhost",
    ],
)  # fmt: skip
def test_another_host_name_is_refused_and_the_setting_is_named(host: str) -> None:
    known = security.known_hosts("mine.example, .wide.example", PLATFORM)
    with pytest.raises(Problem) as caught:
        security.check_host({"HTTP_HOST": host}, known)
    assert caught.value.status_code == 421 and b"FRONTEND_HOSTS" in caught.value.body


def test_a_star_stands_for_every_name_and_no_name_is_400() -> None:
    security.check_host({"HTTP_HOST": "evil.example"}, security.known_hosts("*", {}))
    with pytest.raises(Problem) as caught:
        security.check_host({}, security.known_hosts("*", {}))
    assert caught.value.status_code == 400


@pytest.mark.parametrize("application", ["{", "[]", "7", '{"uris": 5}', '{"uris": [null, {}]}'])
def test_a_platform_that_says_nonsense_adds_no_name(application: str) -> None:
    known = security.known_hosts("", {"VCAP_APPLICATION": application})
    assert "localhost" in known and not any(" " in name or "{" in name for name in known)


@pytest.mark.parametrize("header", ['c="ab', "c", "c=", "c=x; c={}", "c={}; c=x", 'a=1; c="', "c=\x00"])
def test_a_cookie_that_is_forged_double_or_cannot_be_parsed_is_not_ours(header: str) -> None:
    sessions = Sessions()
    made = sessions.make()
    assert sessions.of({"HTTP_COOKIE": header.replace("{}", made)}, "c") is None
    assert sessions.of({"HTTP_COOKIE": f'a="; c={made}; b'}, "c") == made
    assert sessions.of({}, "c") == sessions.of({"HTTP_COOKIE": "cc=1; d=c"}, "c") == COMMON


def test_a_rate_over_the_limit_says_when_to_come_back() -> None:
    rates = security.Rates()
    for _ in range(security.BURST):
        rates.hit(1, "browser (X)", "a")
    with pytest.raises(Problem) as caught:
        rates.hit(1, "browser (X)", "a")
    assert b"1 requests a second for each browser (X): try again in" in caught.value.body
    assert caught.value.status_code == 429 and 1 <= int(caught.value.get_header("Retry-After")) <= security.BURST
    rates.hit(1, "browser (X)", "b")
    rates.hit(1, "address (Y)", "a")


@pytest.mark.parametrize(
    ("headers", "local"),
    [
        ({"REMOTE_ADDR": "127.0.0.1"}, True),
        ({"REMOTE_ADDR": "::1"}, True),
        ({"REMOTE_ADDR": "10.0.0.1"}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_X_FORWARDED_FOR": "1.2.3.4"}, False),
        ({"REMOTE_ADDR": "127.0.0.1", "HTTP_VIA": "1.1 proxy"}, False),
        ({}, False),
    ],
)
def test_who_comes_by_a_proxy_is_not_local(headers: dict[str, Any], local: bool) -> None:
    assert security.is_local(headers, 0) is local
    assert not security.is_local(headers, 1)


def test_a_session_is_known_again_by_whoever_has_the_secret() -> None:
    def knows(sessions: Sessions, session: str) -> bool:
        return sessions.of({"HTTP_COOKIE": f"c={session}"}, "c") == session

    sessions = Sessions("a secret of some length")
    made = sessions.make()
    assert knows(sessions, made) and knows(Sessions("a secret of some length"), made)
    assert made != sessions.make()
    assert not knows(Sessions(), made)
    other = ("1" if made[0] == "0" else "0") + made[1:]
    assert not any(knows(sessions, each) for each in ("", "x", other, made + "0", made[:-2], made[:32], "\u00e9"))
