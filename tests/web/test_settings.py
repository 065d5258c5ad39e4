"""Settings, rates, and where a request comes from: what the front end decides without a socket or a clock."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from frontend import origin
from frontend.session import Sessions
from frontend.settings import BadSetting, Settings, variable
from frontend.throttle import BURST, Throttle
from processes import ROOT

PAGE = (ROOT / "docs/web.md").read_text(encoding="utf-8")


def test_without_variables_everything_has_its_default() -> None:
    assert Settings.of({"PATH": "/bin", "PORT": "8000", "FRONTEND_MAX_WORDS": ""}) == Settings()


def test_variables_are_read_as_what_they_are() -> None:
    environ = {"MAX_WORDS": "7", "IDLE_TIMEOUT": "0.5", "METRICS": "all", "SECRET": "x" * 16}
    read = Settings.of({f"FRONTEND_{name}": value for name, value in environ.items()})
    assert read == Settings(max_words=7, idle_timeout=0.5, metrics="all", secret="x" * 16)


def test_on_cloud_foundry_there_is_a_proxy_unless_told_otherwise() -> None:
    assert Settings.of({"VCAP_APPLICATION": "{}"}).proxies == 1
    assert Settings.of({"VCAP_APPLICATION": "{}", "FRONTEND_PROXIES": "2"}).proxies == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_WORDS", "many"), ("MAX_WORDS", "0"), ("MAX_WORDS", "2.5"), ("MAX_BODY", "1e9"),
        ("IDLE_TIMEOUT", "nan"), ("IDLE_TIMEOUT", "-1"), ("PROXIES", "11"), ("METRICS", "yes"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_is_named_with_its_variable(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(f"FRONTEND_{name}={value} is not")):
        Settings.of({f"FRONTEND_{name}": value})


def test_a_variable_that_is_misspelt_is_no_silence() -> None:
    with pytest.raises(BadSetting, match="no setting FRONTEND_MAX_WROD"):
        Settings.of({"FRONTEND_MAX_WROD": "5"})


def test_a_secret_is_shown_nowhere() -> None:
    with pytest.raises(BadSetting, match="FRONTEND_SECRET is too short") as caught:
        Settings.of({"FRONTEND_SECRET": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Settings(secret="hunter2hunter2hunter2"))


def test_every_setting_is_in_the_page_of_the_operator_with_its_default() -> None:
    for each in dataclasses.fields(Settings):
        default = str(each.default).removesuffix(".0") or "none"
        assert re.search(rf"^\| `{variable(each.name)}` \| {default} \|", PAGE, re.MULTILINE), variable(each.name)
    assert set(re.findall(r"^\| `(FRONTEND_\w+)`", PAGE, re.MULTILINE)) == {
        variable(each.name) for each in dataclasses.fields(Settings)
    }


def test_a_bucket_pays_for_a_burst_and_then_for_the_rate() -> None:
    throttle = Throttle(rate=2)
    assert [throttle.take("a", 100.0) for _ in range(int(2 * BURST))] == [0.0] * 10
    assert throttle.take("a", 100.0) == 0.5
    assert throttle.take("b", 100.0) == 0.0, "each key has a bucket of its own"
    assert throttle.take("a", 100.25) == 0.25
    assert throttle.take("a", 100.5) == 0.0
    assert throttle.take("a", 100.5) > 0


def test_a_token_that_is_given_back_counts_again_but_never_makes_more() -> None:
    throttle = Throttle(rate=1)
    throttle.give_back("a")
    assert len(throttle) == 0
    for _ in range(1000):
        assert throttle.take("a", 5.0) == 0.0
        throttle.give_back("a")
    assert [throttle.take("a", 5.0) for _ in range(6)] == [0.0] * 5 + [1.0]


def test_buckets_that_have_filled_up_are_forgotten() -> None:
    throttle = Throttle(rate=10)
    for number in range(10_000):
        throttle.take(f"key{number}", number / 100)
    assert len(throttle) <= BURST * 100 + 1


def test_a_very_low_rate_still_lets_one_through() -> None:
    throttle = Throttle(rate=0.1)
    assert throttle.take("a", 0.0) == 0.0
    assert throttle.take("a", 0.0) == 10.0


@pytest.mark.parametrize(
    ("headers", "proxies", "expected"),
    [
        ({}, 0, "10.0.0.1"),
        ({"HTTP_X_FORWARDED_FOR": "1.2.3.4"}, 0, "10.0.0.1"),
        ({"HTTP_X_FORWARDED_FOR": "1.2.3.4"}, 1, "1.2.3.4"),
        ({"HTTP_X_FORWARDED_FOR": "6.6.6.6, 1.2.3.4"}, 1, "1.2.3.4"),
        ({"HTTP_X_FORWARDED_FOR": "6.6.6.6, 1.2.3.4, 10.0.0.9"}, 2, "1.2.3.4"),
        ({"HTTP_X_FORWARDED_FOR": "<script>"}, 1, "10.0.0.1"),
        ({"REMOTE_ADDR": "2001:db8::1:2:3:4"}, 0, "2001:db8::/64"),
        ({"REMOTE_ADDR": "::ffff:1.2.3.4"}, 0, "1.2.3.4"),
    ],
)
def test_the_address_is_the_one_that_can_be_believed(headers: dict[str, str], proxies: int, expected: str) -> None:
    assert origin.address({"REMOTE_ADDR": "10.0.0.1"} | headers, proxies) == expected


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"HTTP_SEC_FETCH_SITE": "same-origin"}, False),
        ({"HTTP_SEC_FETCH_SITE": "none"}, False),
        ({"HTTP_SEC_FETCH_SITE": "same-site"}, True),
        ({"HTTP_SEC_FETCH_SITE": "cross-site", "HTTP_ORIGIN": "http://fish.example"}, True),
        ({"HTTP_ORIGIN": "http://fish.example"}, False),
        ({"HTTP_ORIGIN": "https://FISH.example"}, False),
        ({"HTTP_ORIGIN": "http://fish.example.evil.example"}, True),
        ({"HTTP_ORIGIN": "http://fish.example:81"}, True),
        ({"HTTP_ORIGIN": "null"}, True),
        ({"HTTP_ORIGIN": "http://evil.example", "HTTP_X_FORWARDED_HOST": "evil.example"}, True),
    ],
)
def test_a_request_of_another_site_is_known_by_what_browsers_say(headers: dict[str, str], foreign: bool) -> None:
    assert origin.is_foreign({"HTTP_HOST": "fish.example"} | headers, 0) is foreign


def test_behind_a_proxy_the_host_and_the_scheme_are_what_it_says() -> None:
    environ = {
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "10.0.0.5:8000",
        "HTTP_ORIGIN": "https://fish.example",
        "HTTP_X_FORWARDED_HOST": "fish.example",
        "HTTP_X_FORWARDED_PROTO": "https",
    }
    assert not origin.is_foreign(environ, 1) and origin.is_https(environ, 1)
    assert origin.is_foreign(environ, 0) and not origin.is_https(environ, 0)


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
    assert origin.is_local(headers, 0) is local
    assert not origin.is_local(headers, 1)


def test_a_session_is_known_again_by_whoever_has_the_secret() -> None:
    sessions = Sessions("a secret of some length")
    made = sessions.make()
    assert sessions.is_ours(made) and Sessions("a secret of some length").is_ours(made)
    assert made != sessions.make()
    assert not Sessions().is_ours(made)
    other = ("1" if made[0] == "0" else "0") + made[1:]
    assert not any(map(sessions.is_ours, ("", "x", other, made + "0", made.upper() + "\n", made[:-1])))
