"""Where to connect: URLs, lists, lookups over HTTP, functions, and what each of them may give."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote

import pytest

from mqlight import addresses as service_module
from mqlight.addresses import Addresses, Endpoint
from mqlight.errors import InvalidArgumentError, NetworkError, SecurityError


def urls(service, security_options=None):
    return Addresses.of(service, security_options).urls()


def refusal(function, *given):
    with pytest.raises(InvalidArgumentError) as caught:
        function(*given)
    return str(caught.value)


@pytest.fixture
def lookup():
    """A lookup server; tests set `answer` (status, body) and read `requests`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            server.requests.append((self.path, self.headers.get("Authorization")))
            status, body = server.answer
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.requests = []
    server.answer = (200, b"{}")
    server.url = f"http://127.0.0.1:{server.server_port}/lookup"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# URLs


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("amqp://host", Endpoint("amqp", "host", 5672)),
        ("amqps://host", Endpoint("amqps", "host", 5671)),
        ("amqp://host:1234/", Endpoint("amqp", "host", 1234)),
        ("AMQP://Host", Endpoint("amqp", "host", 5672)),
        ("amqp://[::1]:7", Endpoint("amqp", "::1", 7)),
        ("amqp://[::1]", Endpoint("amqp", "::1", 5672)),
        ("amqp://user:pass@host", Endpoint("amqp", "host", 5672, "user", "pass")),
        ("amqp://us%40er:p%3A%2Fw@host", Endpoint("amqp", "host", 5672, "us@er", "p:/w")),
        ("amqp://user:@host", Endpoint("amqp", "host", 5672, "user", "")),
        ("amqp://host?vhost=a%2Fb&queues=", Endpoint("amqp", "host", 5672, options={"vhost": "a/b", "queues": ""})),
    ],
)
def test_a_url_names_an_endpoint(url, endpoint):
    assert urls(url) == [endpoint]


@pytest.mark.parametrize(
    ("url", "shown", "why"),
    [
        ("amqp://", "amqp://", "it has no host; write amqp://HOST"),
        ("amqp:host", "amqp:host", "it has no scheme; write"),
        ("host", "host", "it has no scheme; write"),
        ("", "", "it has no scheme; write"),
        ("amqp://host ", "amqp://host ", "it begins or ends with white space; remove it"),
        ("amqp://u:secret@host\n", "amqp://host\\n", "it begins or ends with white space; remove it"),
        ("amqp://host:x", "amqp://host:***", "its port is not a number from 1 to 65535"),
        ("amqp://host:0", "amqp://host:0", "its port is not a number from 1 to 65535"),
        ("amqp://host:70000", "amqp://host:***", "its port is not a number from 1 to 65535"),
        ("amqp://host/path", "amqp://host/path", "it has a path; write a virtual host of RabbitMQ as ?vhost=NAME"),
        ("amqp://ho st", "amqp://ho st", "it has a space"),
        ("amqp://host#x", "amqp://host#x", "it has a '#'; write it as %23"),
        ("amqp://host?x", "amqp://host?x", "an option in it has no value; write name=value"),
        ("amqp://[::1", "amqp://[:***", "write an IPv6 address in brackets"),
        ("amqp://a,b", "amqp://a,b", "in a list, give each URL its scheme"),
    ],
)
def test_what_is_no_url_is_refused_with_the_reason(url, shown, why):
    message = refusal(Addresses.of, url)
    assert message.startswith(f"the service URL {shown} is not valid: ") and why in message


def test_a_misspelt_option_of_a_url_names_the_nearest_one():
    message = refusal(Addresses.of, "amqp://host?hartbeat=5")
    shown = "the service URL amqp://host?hartbeat=***"
    assert message == f"{shown} has the option 'hartbeat', which does not exist; did you mean heartbeat?"
    assert "did you mean vhost?" in refusal(Addresses.of, "amqp://host?VHost=x")
    assert "there are dialect, heartbeat, queues, vhost" in refusal(Addresses.of, "amqp://host?zzz=x")


def test_several_urls_in_one_text_have_commas_between_them():
    assert [each.host for each in urls("amqp://a, amqps://b:1,")] == ["a", "b"]
    assert urls("amqp://fish:se,cret@a,amqp://b")[0] == Endpoint("amqp", "a", 5672, "fish", "se,cret")


def test_other_schemes_and_types_are_refused():
    assert refusal(Addresses.of, "ftp://host") == "the service URL ftp://host has the scheme ftp; use amqp or amqps"
    for service, kind in ((None, "NoneType"), (5, "int"), (b"amqp://host", "bytes"), (["amqp://host", 5], "int")):
        said = f"service is of type {kind}; give a URL, a list of URLs or a function"
        assert refusal(Addresses.of, service) == said
    assert refusal(Addresses.of, []) == "service is an empty list; give at least one URL"


@pytest.mark.parametrize("url", ["amqp://user@host", "amqp://:pass@host"])
def test_a_user_and_a_password_in_a_url_come_together(url):
    message = refusal(Addresses.of, url)
    assert message.startswith("the service URL amqp://host is not valid: it has a ")
    assert message.endswith("; write both or neither")


@pytest.mark.parametrize("url", ["amqp://user:sec/ret@host", "amqp://user:secret@host/p", "user:secret@host"])
def test_a_refusal_does_not_give_the_password_away(url):
    message = refusal(Addresses.of, url)
    assert "is not valid: " in message
    assert "sec" not in message


@pytest.mark.parametrize("character", "#/?[] \x00\t\u202e")
def test_a_character_that_a_password_cannot_have_is_named_with_its_percent_code(character):
    message = refusal(Addresses.of, f"amqp://fish:pa{character}ss@host:5672")
    assert "pa" not in message.replace("password", "") and "ss" not in message.replace("password", "")
    assert message.endswith(f"write it as {quote(character, safe='')}")
    assert urls(f"amqp://fish:pa{quote('#/?[] ', safe='')}ss@host")[0].password == "pa#/?[] ss"


def test_a_percent_sign_that_begins_no_code_and_a_code_for_a_control_character_are_refused():
    assert refusal(Addresses.of, "amqp://fish:100%@host").endswith("the character '%'; write it as %25")
    assert "password has the control character U+0000" in refusal(Addresses.of, "amqp://fish:a%00b@host")
    assert "codes of its user are not UTF-8" in refusal(Addresses.of, "amqp://f%ff:a@host")


def test_the_heartbeat_is_a_part_of_the_address():
    assert [each.heartbeat for each in urls(["amqp://a?heartbeat=2.5", "amqps://b:1/?vhost=y&heartbeat=9"])] == [2.5, 9]
    assert urls("amqp://a")[0].heartbeat is None


@pytest.mark.parametrize("seconds", ["", "soon", "nan", "0", "-1", "0.9", "3601", "inf"])
def test_a_heartbeat_that_cannot_be_is_refused(seconds):
    message = refusal(Addresses.of, f"amqp://user:secret@host?heartbeat={seconds}")
    assert message == f"the service URL has heartbeat={seconds}; give a number of seconds from 1 to 3600"


def test_no_text_of_an_endpoint_or_service_gives_the_password_away():
    service = Addresses.of(
        ["amqp://user:secret@[::1]:1", "http://user:secret@host/x"], {"user": "u", "password": "hush"}
    )
    endpoint = Endpoint.parse("amqp://user:secret@[::1]:1")
    assert endpoint.url == "amqp://[::1]:1"
    assert "secret" not in repr(endpoint) + repr(service)
    assert "hush" not in repr(service)


def test_a_list_is_tried_in_its_order():
    assert [each.host for each in urls(["amqp://b", "amqp://a", "amqps://c"])] == ["b", "a", "c"]


def test_the_user_of_the_security_options_goes_before_that_of_the_url():
    options = {"user": "me", "password": "mine"}
    assert urls("amqp://host", options) == [Endpoint("amqp", "host", 5672, "me", "mine")]
    assert urls("amqp://you:yours@host", options) == [Endpoint("amqp", "host", 5672, "me", "mine")]


# Lookup URLs


@pytest.mark.parametrize(
    ("service", "hosts"), [(["amqp://a", "amqp://b:1"], ["a", "b"]), ("amqps://c", ["c"])], ids=["list", "text"]
)
def test_a_lookup_url_is_asked_each_time(lookup, service, hosts):
    lookup.answer = (200, json.dumps({"service": service, "other": 1}).encode())
    found = Addresses.of(lookup.url + "?x=1")
    assert [each.host for each in found.urls()] == hosts
    lookup.answer = (200, b'{"service": "amqp://moved"}')
    assert [each.host for each in found.urls()] == ["moved"]
    assert lookup.requests == [("/lookup?x=1", None)] * 2


def test_a_user_in_a_lookup_url_is_for_the_addresses_and_not_for_the_lookup(lookup):
    lookup.answer = (200, b'{"service": "amqp://host"}')
    with_user = lookup.url.replace("http://", "http://user:secret@")
    assert urls(with_user) == [Endpoint("amqp", "host", 5672, "user", "secret")]
    assert lookup.requests == [("/lookup", None)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((404, b"no"), "answered with status 404"),
        ((503, b""), "answered with status 503"),
        ((200, b"<html>"), "answered with text that is not JSON"),
        ((200, b"\xff"), "answered with text that is not JSON"),
        ((200, b"[]"), 'answered with JSON that has no member "service"'),
        ((200, b"{}"), 'answered with JSON that has no member "service"'),
        ((200, b'{"service": []}'), "gave [] as the service; a URL or a list of URLs is needed"),
        ((200, b'{"service": 5}'), "gave int as the service"),
        ((200, b'{"service": ["host"]}'), "the service URL host is not valid"),
        ((200, b'{"service": "http://x/"}'), "has the scheme http; use amqp or amqps"),
        ((200, b" " * 70000), "answered with more than 65536 bytes"),
    ],
)
def test_a_lookup_that_gives_nothing_of_use_is_a_network_error(lookup, answer, words):
    lookup.answer = answer
    with pytest.raises(NetworkError) as caught:
        urls(lookup.url)
    assert words in str(caught.value)
    assert lookup.url in str(caught.value)


def test_a_lookup_url_that_nobody_answers_is_a_network_error(lookup):
    lookup.shutdown()
    lookup.server_close()
    with pytest.raises(NetworkError, match="could not be reached: .*refused") as caught:
        urls(lookup.url)
    assert caught.value.url == lookup.url


def test_a_lookup_that_is_silent_ends_by_its_time(lookup, monkeypatch):
    monkeypatch.setattr(service_module, "LOOKUP_TIMEOUT", 0.05)
    asked, over = threading.Event(), threading.Event()

    class Silent(lookup.RequestHandlerClass):
        def do_GET(self):
            asked.set()
            over.wait(10)

    lookup.RequestHandlerClass = Silent
    with pytest.raises(NetworkError, match="timed out"):
        urls(lookup.url)
    assert asked.is_set()
    over.set()


def test_addresses_beside_a_lookup_that_fails_are_used(lookup):
    lookup.answer = (500, b"")
    assert [each.host for each in urls([lookup.url, "amqp://spare"])] == ["spare"]


# Functions


def test_a_function_may_call_back_at_once_or_later():
    def at_once(callback):
        callback(None, ["amqp://a", "amqp://b"])

    def later(callback):
        threading.Timer(0.01, callback, (None, "amqp://c")).start()

    assert [each.host for each in urls(at_once)] == ["a", "b"]
    assert [each.host for each in urls(later)] == ["c"]


def test_a_function_that_finds_nothing_or_fails_is_a_network_error(monkeypatch):
    def nothing(callback):
        callback(OSError("no directory"), None)

    def failing(callback):
        raise RuntimeError("oops")

    def empty(callback):
        callback(None, None)

    def silent(callback):
        pass

    monkeypatch.setattr(service_module, "FUNCTION_TIMEOUT", 0.01)
    for function, words in (
        (nothing, "found no service: no directory"),
        (failing, "failed: RuntimeError: oops"),
        (empty, "gave None as the service"),
        (silent, "did not call back within 0.01 seconds"),
    ):
        with pytest.raises(NetworkError, match=words):
            urls(function)


def test_an_error_of_ours_from_a_function_is_passed_on():
    def refused(callback):
        callback(SecurityError("no entry"), None)

    with pytest.raises(SecurityError, match="no entry"):
        urls(refused)


def test_only_an_amqps_address_has_tls():
    service = Addresses.of(["amqp://a", "amqps://b"])
    plain, secure = service.urls()
    assert service.tls(plain) is None
    assert service.tls(secure) is service.tls(secure) is not None
