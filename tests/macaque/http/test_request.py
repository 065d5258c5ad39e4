"""The requests of HTTP, and the calls that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from macaque.http.answer import Problem
from macaque.http.request import Head, Limits, Wanted, check_method, methods, topic_of, wanted

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LIMITS = Limits(timeout=20.0, stream_timeout=600.0)


@dataclass
class Known:
    safe: bool = False
    streams: bool = False
    request: dict[str, Any] | None = None


def post(body: bytes = b"", query: str = "", /, **headers: str) -> Wanted:
    told = {"content_type": "application/json", **headers} if body else headers
    names = {name.replace("_", "-"): value for name, value in told.items()}
    return wanted(Head("POST", "t", query, names), body, None, LIMITS)


def get(query: str, body: bytes = b"", **known: Any) -> Wanted:
    return wanted(Head("GET", "t", query, {}), body, Known(safe=True, **known), LIMITS)


def test_the_path_is_the_topic() -> None:
    assert topic_of(b"/todo/list") == "todo/list"
    assert topic_of("/grün/a b".encode()) == "grün/a b"
    assert topic_of(b"//a") == "/a"


@pytest.mark.parametrize(
    "path", [b"", b"/", b"/a\x00b", b"/" + b"a" * 100_000, b"/macaque/services", b"/response/client"]
)
def test_a_path_that_is_no_topic_of_a_service_is_not_found(path: bytes) -> None:
    with pytest.raises(Problem) as caught:
        topic_of(path)
    assert caught.value.status == 404
    assert len(caught.value.body) < 1000


def test_a_path_that_is_no_utf_8_is_refused() -> None:
    with pytest.raises(Problem, match="UTF-8") as caught:
        topic_of(b"/\xff")
    assert caught.value.status == 400


def test_only_safe_services_have_get() -> None:
    check_method(Head("GET", "t", "", {}), Known(safe=True))
    check_method(Head("HEAD", "t", "", {}), Known(safe=True))
    for known in None, Known():
        check_method(Head("POST", "t", "", {}), known)
        assert methods(known) == "POST, OPTIONS"
        for method in "GET", "HEAD", "PUT", "DELETE", "TRACE", "post", "":
            with pytest.raises(Problem) as caught:
                check_method(Head(method, "t", "", {}), known)
            assert caught.value.status == 405
            assert caught.value.headers == (("Allow", "POST, OPTIONS"),)


def test_a_body_is_json_and_no_body_is_null() -> None:
    assert post(b'{"a": "\xc3\xbc"}').data == {"a": "ü"}
    assert post().data is None
    assert post(b"[1]", content_type='Application/JSON; charset="UTF-8"').data == [1]


@pytest.mark.parametrize("body", [b"{", b"\xff", b'"\xff"', b"[" * 100_000, b"NaN", b"{} {}", b" "])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(Problem) as caught:
        post(body)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "", "json", ";"]
)
def test_another_type_is_refused(kind: str) -> None:
    with pytest.raises(Problem) as caught:
        post(b"{}", content_type=kind)
    assert caught.value.status == 415
    assert post(content_type=kind).data is None


def test_a_body_needs_its_type_and_no_encoding() -> None:
    with pytest.raises(Problem, match="is none"):
        wanted(Head("POST", "t", "", {}), b"{}", None, LIMITS)
    with pytest.raises(Problem, match="Content-Encoding"):
        post(b"{}", content_encoding="gzip")


def test_a_query_is_for_get_and_a_body_for_post() -> None:
    with pytest.raises(Problem, match="leave the query out"):
        post(b"{}", "a=5")
    with pytest.raises(Problem, match="leave the body out"):
        get("", b"{}")


def test_a_query_is_the_data_of_get() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert get("a=5&b=%C3%BC+x", request=schema).data == {"a": 5, "b": "ü x"}
    assert get("data=%5B1%5D").data == [1]
    assert get("").data is None


@pytest.mark.parametrize("query", ["a", "&", "a=%ff", "a=\xc3\xa9", "data={", "data=" + "[" * 100_000, "a=1&" * 2000])
def test_a_query_that_cannot_be_decoded_is_refused(query: str) -> None:
    with pytest.raises(Problem) as caught:
        get(query)
    assert caught.value.status == 400
    assert len(caught.value.body) < 1000


@pytest.mark.parametrize(
    ("prefer", "timeout"),
    [
        ("", 20.0),
        ("wait=3", 3.0),
        ("WAIT = 3", 3.0),
        ('wait="3"; x=y, foo', 3.0),
        ("foo, wait=0.5", 0.5),
        ("wait=3, wait=1", 3.0),
        ("wait=100", 20.0),
        ("wait=0", 20.0),
        ("wait=-1", 20.0),
        ("wait=1e9", 20.0),
        ("wait=nan", 20.0),
        ("wait", 20.0),
        (",,;;==", 20.0),
    ],
)
def test_a_caller_may_shorten_the_time_and_not_lengthen_it(prefer: str, timeout: float) -> None:
    assert post(prefer=prefer).timeout == timeout


def test_a_service_that_streams_has_more_time() -> None:
    assert get("", streams=True).timeout == 600.0
    assert get("", streams=False).timeout == 20.0


def test_a_one_way_message_is_asked_for_by_post() -> None:
    assert post(prefer="respond-async").one_way
    assert not post().one_way
    head = Head("GET", "t", "", {"prefer": "respond-async"})
    assert not wanted(head, b"", Known(safe=True), LIMITS).one_way


def test_the_idempotency_key_is_the_uuid() -> None:
    assert post(idempotency_key="8e03978e").uuid == "8e03978e"
    assert post(idempotency_key='"8e, 0\\"39\\\\"').uuid == '8e, 0"39\\'
    assert post().uuid is None


@pytest.mark.parametrize("key", ["", '""', "a, a", '"a", "a"', "a b", "a" * 300, "a\x01", '"a'])
def test_a_key_that_is_not_one_is_refused(key: str) -> None:
    with pytest.raises(Problem) as caught:
        post(idempotency_key=key)
    assert caught.value.status == 400


def test_the_trace_is_passed_on_if_it_is_valid() -> None:
    assert post(traceparent=PARENT, tracestate="a=b").trace == (PARENT, "a=b")
    assert post(traceparent="00-zz", tracestate="a=b").trace is None


@given(
    st.binary(), st.text(), st.dictionaries(st.sampled_from(["prefer", "idempotency-key", "content-type"]), st.text())
)
def test_a_hostile_request_is_a_call_or_a_problem(body: bytes, query: str, headers: dict[str, str]) -> None:
    for method in "GET", "POST":
        try:
            wanted(Head(method, "t", query, headers), body, Known(safe=True), LIMITS)
        except Problem as problem:
            assert 400 <= problem.status < 500


def test_the_limits_are_settings() -> None:
    assert Limits.of({}) == Limits()
    settings = {"HTTP_TIMEOUT": 5, "HTTP_STREAM_TIMEOUT": 6.5, "HTTP_MAX_BODY": 7}
    assert Limits.of(settings) == Limits(5.0, 6.5, 7)
    for name, value in ("HTTP_TIMEOUT", 0), ("HTTP_STREAM_TIMEOUT", "long"), ("HTTP_MAX_BODY", 1.5):
        with pytest.raises((TypeError, ValueError), match=f"setting {name}"):
            Limits.of({name: value})
