from __future__ import annotations

from typing import Any

from macaque.gateway import cors

SHOP = ("https://shop.example.com",)
QUESTION: dict[str, Any] = {
    "REQUEST_METHOD": "OPTIONS",
    "HTTP_ORIGIN": SHOP[0],
    "HTTP_ACCESS_CONTROL_REQUEST_METHOD": "POST",
}


def test_without_origins_nothing_is_said() -> None:
    assert cors.headers(QUESTION, ()) == [] and cors.preflight(QUESTION, ()) is None


def test_an_allowed_origin_is_named_and_another_one_is_not() -> None:
    named = dict(cors.headers(QUESTION, SHOP))
    assert named["Access-Control-Allow-Origin"] == SHOP[0] and named["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in named
    assert cors.headers(QUESTION | {"HTTP_ORIGIN": "https://evil.example"}, SHOP) == [("Vary", "Origin")]
    assert dict(cors.headers(QUESTION, ("*",)))["Access-Control-Allow-Origin"] == "*"


def test_a_preflight_request_is_answered_for_allowed_origins() -> None:
    answer = cors.preflight(QUESTION, SHOP)
    assert answer is not None and answer.status == 204
    assert "Authorization" in dict(answer.headers)["Access-Control-Allow-Headers"]
    assert cors.preflight(QUESTION | {"HTTP_ORIGIN": "https://evil.example"}, SHOP) is None
    assert cors.preflight(QUESTION | {"REQUEST_METHOD": "POST"}, SHOP) is None
