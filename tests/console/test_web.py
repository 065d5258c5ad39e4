"""Requests of other sites, and requests that are none."""

from __future__ import annotations

import pytest

from console.conftest import Site

HOSTILE = {
    "another name": {"Host": "evil.example:9180"},
    "another site": {"Sec-Fetch-Site": "cross-site"},
    "a sibling": {"Sec-Fetch-Site": "same-site"},
    "another origin": {"Origin": "http://evil.example"},
    "no origin": {"Origin": "null"},
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE.keys())
def test_other_sites_read_and_do_nothing(site: Site, headers: dict[str, str]) -> None:
    visitor = site.visitor().begin()
    for answer in (visitor.get("api/messages", **headers), visitor.post("api/messages", {"topic": "t"}, **headers)):
        assert answer.status == 403, answer.body


@pytest.mark.parametrize("headers", [{"X-Console": "guessed"}, {"Content-Type": "text/plain"}])
def test_a_form_of_another_site_cannot_act(site: Site, headers: dict[str, str]) -> None:
    answer = site.visitor().begin().post("api/messages", {"topic": "t", "body": "m"}, **headers)
    assert answer.status in (403, 415)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"topic": 1, "body": ""}', b'{"topic": "t"}', b'{"topic": "t", "body": "", "ttl": -1}',
             b'{"topic": "", "body": ""}', b'{"topic": "t\\u0000", "body": ""}', b"[" * 100_000]
)  # fmt: skip
def test_a_body_that_is_none_is_refused_in_words(site: Site, body: bytes) -> None:
    answer = site.visitor().begin().post("api/messages", body)
    assert answer.status == 400 and len(answer.body["error"]) > 10
