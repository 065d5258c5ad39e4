from __future__ import annotations

from typing import Any

import pytest

from macaque.gateway.visitor import LOCAL, address, bearer, check_direct, check_host, check_path, is_foreign
from macaque.http.answer import Problem


def status(check: Any, *args: Any) -> int:
    try:
        check(*args)
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(
    "host, names, expected",
    [
        ("localhost:8080", LOCAL, 200),
        ("app.localhost", LOCAL, 200),
        ("127.0.0.1:8080", LOCAL, 200),
        ("[::1]:8080", LOCAL, 200),
        ("LOCALHOST", LOCAL, 200),
        ("evil.example.com", LOCAL, 421),
        ("localhost.evil.example.com", LOCAL, 421),
        ("evil.example.com:8080", (), 200),
        ("shop.example.com", (".example.com",), 200),
        ("example.com.", ("example.com",), 200),
        ("", (), 400),
        ("a b", (), 400),
        ("user@localhost", LOCAL, 400),
        ("localhost,evil.example.com", LOCAL, 400),
    ],
)
def test_the_host_has_to_be_known(host: str, names: tuple[str, ...], expected: int) -> None:
    assert status(check_host, {"HTTP_HOST": host}, names) == expected


@pytest.mark.parametrize("header", ["FORWARDED", "VIA", "X_FORWARDED_FOR", "X_FORWARDED_HOST"])
def test_a_request_through_a_proxy_is_noticed(header: str) -> None:
    assert status(check_direct, {"HTTP_HOST": "localhost"}) == 200
    assert status(check_direct, {"HTTP_HOST": "localhost", f"HTTP_{header}": ""}) == 403


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/todo/list", 200),
        ("/todo//list", 200),
        ("/todo/%23", 200),
        ("/todo/caf%C3%A9", 200),
        ("/todo/..list", 200),
        ("/todo/list?x=../%2f", 200),
        ("/todo%2flist", 400),
        ("/todo%2Flist", 400),
        ("/todo%5clist", 400),
        ("/todo\\list", 400),
        ("/todo/%00", 400),
        ("/todo/../list", 400),
        ("/todo/./list", 400),
        ("/todo/%2e%2E/list", 400),
        ("/todo/.%2e", 400),
        ("/..", 400),
    ],
)
def test_a_path_that_two_programs_may_read_differently_is_refused(path: str, expected: int) -> None:
    assert status(check_path, {"RAW_URI": path}) == expected


@pytest.mark.parametrize(
    "headers, origins, foreign",
    [
        ({}, (), False),
        ({"HTTP_SEC_FETCH_SITE": "same-origin"}, (), False),
        ({"HTTP_SEC_FETCH_SITE": "none"}, (), False),
        ({"HTTP_SEC_FETCH_SITE": "same-site"}, (), True),
        ({"HTTP_SEC_FETCH_SITE": "cross-site"}, (), True),
        ({"HTTP_ORIGIN": "http://localhost:8080"}, (), False),
        ({"HTTP_ORIGIN": "http://localhost:9000"}, (), True),
        ({"HTTP_ORIGIN": "https://LOCALHOST:8080"}, (), False),
        ({"HTTP_ORIGIN": "http://localhost:8080.evil.example"}, (), True),
        ({"HTTP_ORIGIN": "http://localhost:8080", "HTTP_SEC_FETCH_SITE": "cross-site"}, (), True),
        ({"HTTP_ORIGIN": "http://evil.example", "HTTP_X_FORWARDED_HOST": "evil.example"}, (), True),
        ({"HTTP_ORIGIN": "null"}, (), True),
        ({"HTTP_ORIGIN": "https://a.example", "HTTP_SEC_FETCH_SITE": "cross-site"}, ("https://a.example",), False),
        ({"HTTP_ORIGIN": "https://b.example", "HTTP_SEC_FETCH_SITE": "cross-site"}, ("https://a.example",), True),
        ({"HTTP_ORIGIN": "https://b.example"}, ("*",), False),
    ],
)
def test_a_page_of_another_site_is_noticed(headers: Any, origins: tuple[str, ...], foreign: bool) -> None:
    assert is_foreign({"HTTP_HOST": "localhost:8080", **headers}, origins) is foreign


@pytest.mark.parametrize(
    "header, token",
    [
        (None, None),
        ("Bearer abc", "abc"),
        ("bearer  abc==", "abc=="),
        ("Basic YTpi", 401),
        ("Bearer", 401),
        ("Bearer a b", 401),
        ("Bearer a,Bearer b", 401),
    ],
)
def test_a_token_has_its_form(header: str | None, token: Any) -> None:
    environ = {} if header is None else {"HTTP_AUTHORIZATION": header}
    if token == 401:
        with pytest.raises(Problem) as raised:
            bearer(environ)
        assert raised.value.status == 401 and ("WWW-Authenticate", 'Bearer realm="macaque"') in raised.value.headers
    else:
        assert bearer(environ) == token


@pytest.mark.parametrize(
    "remote, key",
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("", "unknown"),
        ("<b>", "unknown"),
    ],
)
def test_an_address_is_a_key(remote: str, key: str) -> None:
    assert address({"REMOTE_ADDR": remote}) == key
