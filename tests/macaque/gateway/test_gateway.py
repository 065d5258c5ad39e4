"""Callers of a gateway that runs as a process of its own."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import macaque
from fronts import TOKEN, Front, StartFront
from processes import Server, start_server, wait_until
from shops import Shop

ALLOW = ("--allow", "shop/#")


def publish(server: Server, topic: str, data: Any) -> None:
    with macaque.Client(server.url) as client:
        client.notify(topic, data).result()


def test_a_post_is_a_call(front: Front) -> None:
    reply = front.call("shop/list", {"kind": "carp"})
    assert (reply.status, reply.body) == (200, ["fish", {"kind": "carp"}])
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["X-Content-Type-Options"] == "nosniff" and reply.headers["Cache-Control"] == "no-store"
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]


def test_a_get_is_for_safe_services_only(front: Front) -> None:
    assert front.ask("GET", "/shop/list?kind=carp").body == ["fish", {"kind": "carp"}]
    assert front.ask("HEAD", "/shop/list").body == b""
    refused = front.ask("GET", "/shop/add")
    assert refused.status == 405 and "POST" in refused.headers["Allow"]
    assert front.ask("OPTIONS", "/shop/add").headers["Allow"] == "POST, OPTIONS"


def test_a_topic_may_begin_with_a_slash(shared_server: Server, start_front: StartFront) -> None:
    app = macaque.Server(shared_server.url)
    app.service("/todo/api/v1.0/tasks", safe=True)(lambda data: {"tasks": data})
    with app:
        for allow in "/todo/#", "#":
            front = start_front(shared_server.url, "--allow", allow)
            assert front.ask("GET", "/todo/api/v1.0/tasks?id=1").body == {"tasks": {"id": "1"}}
            assert front.call("todo/api/v1.0/tasks", 2).body == {"tasks": 2}


def test_errors_are_problems_that_tell_no_secret(front: Front) -> None:
    failed = front.call("shop/fail")
    assert failed.status == 500 and "secret" not in str(failed.body)
    assert failed.headers["Content-Type"] == "application/problem+json"
    none = front.call("shop/none", 7)
    assert (none.status, none.body["detail"], none.body["details"]) == (404, "there is no such item", {"item": 7})
    away = front.call("shop/nobody")
    assert (away.status, away.body["retryable"]) == (503, True) and away.headers["Retry-After"]


@pytest.mark.parametrize("topic", ["internal/secret", "macaque/services", "response/x", "shop%00", "%ff", "", "other"])
def test_a_topic_outside_of_the_list_is_not_there(front: Front, topic: str) -> None:
    refused = front.call(topic)
    assert refused.status in (400, 404) and "secret" not in str(refused.body.get("details"))


def test_the_caller_may_shorten_the_time_and_not_lengthen_it(
    shared_server: Server, shop: Shop, start_front: StartFront
) -> None:
    front = start_front(shared_server.url, *ALLOW, "--timeout", "1")
    began = time.monotonic()
    assert front.call("shop/stuck", Prefer="wait=0.2").status == 504
    assert time.monotonic() - began < 0.9
    assert front.call("shop/stuck", Prefer="wait=100").status == 504
    assert time.monotonic() - began < 10


def test_a_one_way_message_is_accepted(front: Front, shop: Shop) -> None:
    runs = shop.runs
    assert front.call("shop/add", 1, Prefer="respond-async").status == 202
    wait_until(lambda: shop.runs == runs + 1, what="the run")


def test_a_trace_goes_in_and_out(front: Front) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    assert front.call("shop/list", traceparent=trace).headers["traceparent"] == trace


def test_an_idempotency_key_belongs_to_its_caller(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path
) -> None:
    other = TOKEN + "-other"
    (tmp_path / "tokens").write_text(f"ann {TOKEN}\nbob {other}\n")
    front = start_front(shared_server.url, *ALLOW, "--tokens", str(tmp_path / "tokens"))

    def add(token: str, key: str) -> Any:
        return front.call("shop/add", 1, Authorization=f"Bearer {token}", Idempotency_Key=key).body["run"]

    first = add(TOKEN, "key")
    assert add(TOKEN, "key") == add(TOKEN, '"key"') == first
    assert add(other, "key") != first and add(TOKEN, "another") != first


def test_a_stream_is_events_and_ends_with_its_caller(front: Front, shop: Shop) -> None:
    shop.forget()
    with front.events("/shop/ticks?data=2") as events:
        assert list(events) == [("message", 0), ("message", 1), ("end", {"parts": 2})]
    assert shop.ended.acquire(timeout=10)
    with front.events("/shop/ticks") as events:
        assert [next(events), next(events)] == [("message", 0), ("message", 1)]
        assert not shop.ended.acquire(blocking=False)
    assert shop.ended.acquire(timeout=10), "the generator has ended, because its caller is gone"


def test_a_call_is_cancelled_when_its_caller_is_gone(front: Front, shop: Shop) -> None:
    shop.forget()
    with front.connection() as opened:
        opened.sendall(b"POST /shop/slow HTTP/1.1\r\nHost: localhost\r\n\r\n")
        shop.wait_for(1)
        assert not shop.ended.acquire(blocking=False)
    assert shop.ended.acquire(timeout=10)


def test_messages_are_heard_as_events(front: Front, shared_server: Server) -> None:
    with front.events("/news/sport") as sport, front.events("/news/%23") as all_news, front.events("/news/+") as one:
        publish(shared_server, "news/sport", {"goal": 1})
        publish(shared_server, "news/a/b", 2)
        publish(shared_server, "news/sport", 3)
        assert next(sport) == ("message", {"topic": "news/sport", "data": {"goal": 1}})
        assert [next(all_news)[1]["data"] for _ in range(3)] == [{"goal": 1}, 2, 3]
        assert [next(one)[1]["data"] for _ in range(2)] == [{"goal": 1}, 3]
    with front.events("/news/sport", Accept="Text/Event-Stream;q=0.9"):
        pass  # the name of a type is in any case


@pytest.mark.parametrize("path", ["/%23", "/+", "/other", "/shop/add", "/+/sport", "/%23/news", "/response/%23"])
def test_other_messages_are_not_heard(front: Front, path: str) -> None:
    assert front.ask("GET", path, Accept="text/event-stream").status in (404, 405)


def test_tokens_say_who_may_call_what(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path
) -> None:
    limited = TOKEN + "-limited"
    (tmp_path / "tokens").write_text(f"ann {TOKEN}\nbob {limited} shop/list news/sport\n")
    front = start_front(
        shared_server.url, *ALLOW, "--subscribe", "news/#", "--tokens", str(tmp_path / "tokens"), "--log-level", "debug"
    )
    missing = front.call("shop/list")
    assert (missing.status, missing.headers["WWW-Authenticate"]) == (401, 'Bearer realm="macaque"')
    wrong = front.call("shop/list", Authorization="Bearer wrong")
    assert wrong.status == 401 and 'error="invalid_token"' in wrong.headers["WWW-Authenticate"]
    assert front.call("other").status == 401, "without a token nothing is told of topics"
    ann, bob = {"Authorization": f"Bearer {TOKEN}"}, {"Authorization": f"Bearer {limited}"}
    assert front.call("shop/list", **ann).status == front.call("shop/list", **bob).status == 200
    assert front.call("shop/add", **ann).status == 200 and front.call("shop/add", **bob).status == 403
    assert front.call("other", **ann).status == 404
    heard = {"Accept": "text/event-stream", **bob}
    assert front.ask("GET", "/news/%23", **heard).status == 404
    with front.events("/news/sport", **bob):
        pass
    log = front.process.log()
    assert "ann at 127.0.0.1" in log and TOKEN not in log


def test_a_token_that_is_taken_away_ends_its_streams(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"ann {TOKEN}\nbob {TOKEN}-of-bob\n")
    front = start_front(shared_server.url, *ALLOW, "--subscribe", "news/#", "--tokens", str(file))
    ann = {"Authorization": f"Bearer {TOKEN}"}
    with front.events("/news/sport", **ann) as events:
        (tmp_path / "new").write_text(f"bob {TOKEN}-of-bob\n")
        os.replace(tmp_path / "new", file)
        wait_until(lambda: front.call("shop/list", **ann).status == 401, what="the new file")
        publish(shared_server, "news/sport", 1)
        kind, problem = next(events)
        assert (kind, problem["status"]) == ("error", 401)
    front.process.signal(1)  # SIGHUP changes nothing more
    assert front.call("shop/list", Authorization=f"Bearer {TOKEN}-of-bob").status == 200


def test_the_rate_of_a_caller_is_limited(shared_server: Server, shop: Shop, start_front: StartFront) -> None:
    front = start_front(shared_server.url, *ALLOW, "--rate", "3/hour", "--proxies", "1", "--public")
    statuses = [front.call("shop/list", X_Forwarded_For="192.0.2.1").status for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    limited = front.call("shop/list", X_Forwarded_For="10.0.0.1, 192.0.2.1")
    assert limited.status == 429 and 0 < int(limited.headers["Retry-After"]) <= 3600
    assert front.call("shop/list", X_Forwarded_For="192.0.2.1, 192.0.2.2").status == 200, "the proxy's word counts"


def test_without_proxies_a_forged_address_does_not_count(
    shared_server: Server, shop: Shop, start_front: StartFront
) -> None:
    front = start_front(shared_server.url, *ALLOW, "--rate", "1/hour", "--public")
    assert [front.call("shop/list", X_Forwarded_For=f"192.0.2.{n}").status for n in (1, 2)] == [200, 429]


def test_calls_and_streams_over_the_limit_are_refused(
    shared_server: Server, shop: Shop, start_front: StartFront
) -> None:
    front = start_front(shared_server.url, *ALLOW, "--subscribe", "news/#", "--calls", "2", "--streams", "1")
    with ThreadPoolExecutor(2) as pool:
        shop.forget()
        stuck = [pool.submit(front.call, "shop/stuck", n, Prefer="wait=15") for n in range(2)]
        shop.wait_for(2)
        full = front.call("shop/list")
        assert full.status == 503
        assert "2 calls at the moment" in full.body["detail"] and full.headers["Retry-After"]
        shop.go.set()
        assert [each.result().status for each in stuck] == [200, 200]
        shop.go.clear()
    with front.events("/news/a"):
        assert "1 streams" in front.ask("GET", "/news/a", Accept="text/event-stream").body["detail"]
        assert front.call("shop/list").status == 200, "calls have places of their own"
    wait_until(lambda: is_listening(front), what="the free place")


def is_listening(front: Front) -> bool:
    try:
        with front.events("/news/a"):
            return True
    except AssertionError:
        return False


def test_a_page_of_an_allowed_origin_may_call(shared_server: Server, shop: Shop, start_front: StartFront) -> None:
    front = start_front(shared_server.url, *ALLOW, "--cors", "https://Shop.example.com", "--hostname", "My.example")
    site = {"Origin": "https://shop.example.com", "Sec_Fetch_Site": "cross-site"}
    asked = front.ask("OPTIONS", "/shop/list", Access_Control_Request_Method="POST", **site)
    assert asked.status == 204 and asked.headers["Access-Control-Allow-Origin"] == "https://shop.example.com"
    reply = front.call("shop/list", **site)
    assert reply.status == 200 and reply.headers["Access-Control-Allow-Origin"] == "https://shop.example.com"
    assert front.call("shop/list", Host="my.example", **site).status == 200
    other = front.call("shop/list", Origin="https://evil.example", Sec_Fetch_Site="cross-site")
    assert other.status == 403 and other.headers["Access-Control-Allow-Origin"] is None


def test_a_folder_is_served_beside_the_services(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("<h1>fish</h1>")
    (tmp_path / "app.js").write_text("let fish")
    front = start_front(shared_server.url, *ALLOW, "--page", str(tmp_path), MACAQUE_GATEWAY_TOKEN=TOKEN)
    page = front.ask("GET", "/")
    assert (
        page.status == 200
        and page.body == b"<h1>fish</h1>"
        and "script-src 'self'" in page.headers["Content-Security-Policy"]
    )
    assert len(page.headers.get_all("Content-Security-Policy") or []) == 1
    assert front.ask("GET", "/app.js").body == b"let fish", "a page needs no token"
    assert front.ask("GET", "/index.txt").status == 401
    assert front.call("shop/list", Authorization=f"Bearer {TOKEN}").status == 200


def test_the_services_are_described_to_those_who_may_call_them(
    shared_server: Server, shop: Shop, start_front: StartFront, tmp_path: Path, front: Front
) -> None:
    document = front.ask("GET", "/openapi.json")
    assert document.headers["Content-Type"] == "application/json"
    paths = document.body["paths"]
    assert set(paths) == {f"/shop/{name}" for name in ("list", "add", "fail", "none", "stuck", "slow", "ticks")}
    assert "get" in paths["/shop/list"] and "get" not in paths["/shop/add"]
    assert document.body["servers"] == [{"url": front.url}]
    page = front.ask("GET", "/", Sec_Fetch_Site="cross-site")
    assert page.status == 200 and b"shop/list" in page.body and b"internal" not in page.body
    (policy,) = page.headers.get_all("Content-Security-Policy") or []
    assert "style-src 'sha256-" in policy and "frame-ancestors 'none'" in policy
    assert front.ask("HEAD", "/").body == b""
    assert front.ask("GET", "/openapi.json", Sec_Fetch_Site="cross-site").status == 403
    limited = TOKEN + "-limited"
    (tmp_path / "tokens").write_text(f"ann {TOKEN}\nbob {limited} shop/list\n")
    guarded = start_front(shared_server.url, *ALLOW, "--tokens", str(tmp_path / "tokens"))
    assert guarded.ask("GET", "/").status == guarded.ask("GET", "/openapi.json").status == 401
    told = guarded.ask("GET", "/openapi.json", Authorization=f"Bearer {limited}").body
    assert set(told["paths"]) == {"/shop/list"} and told["security"] == [{"bearer": []}]
    told = guarded.ask("GET", "/openapi.json", Authorization=f"Bearer {TOKEN}").body
    assert len(told["paths"]) == 7
    silent = start_front(shared_server.url, *ALLOW, "--no-docs")
    assert silent.ask("GET", "/").status == silent.ask("GET", "/openapi.json").status == 404


def test_a_broker_that_is_away_is_a_503_and_comes_back(start_front: StartFront, server: Server) -> None:
    front = start_front(server.url, "--allow", "todo", "--subscribe", "news", "--health-port", "0")
    health = int(front.process.expect(r"health of .* at http://127.0.0.1:(\d+)/")[1])
    probe = Front.__new__(Front)
    probe.host, probe.port = "127.0.0.1", health
    wait_until(lambda: probe.ask("GET", "/readyz").status == 200, what="the connection")
    with front.events("/news") as events:
        server.kill()
        assert next(events)[0] == "error", "no message is missed silently"
    began = time.monotonic()
    lost = front.call("todo")
    assert lost.status == 503 and lost.headers["Retry-After"] and time.monotonic() - began < 10, "at once"
    assert front.ask("GET", "/news", Accept="text/event-stream").status == 503
    assert probe.ask("GET", "/readyz").status == 503 and probe.ask("GET", "/healthz").status == 200
    server.close()
    again = start_server(port=server.port)
    try:
        app = macaque.Server(broker=again.url)
        app.service("todo")(lambda data: data)
        with app:
            wait_until(lambda: front.call("todo", 1, Prefer="wait=1").status == 200, what="the new connection")
            wait_until(lambda: front.ask("GET", "/nothing").status == 404)
    finally:
        again.close()


def test_sigterm_finishes_calls_and_ends_streams(shared_server: Server, shop: Shop, start_front: StartFront) -> None:
    front = start_front(shared_server.url, *ALLOW, "--subscribe", "news/#")
    ended: list[Any] = []
    with front.connection(), front.events("/news/a") as news, front.events("/shop/ticks") as ticks:
        assert [next(ticks), next(ticks)]
        call = threading.Thread(target=lambda: ended.append(front.call("shop/stuck", 5)))
        shop.forget()
        call.start()
        shop.wait_for(1)
        front.process.signal(15)
        for events in (news, ticks):
            kind, problem = next(events)
            assert kind == "error" and problem["status"] == 503 and "stopping" in problem["detail"]
            assert next(events, None) is None
        shop.go.set()
        call.join(10)
        shop.go.clear()
    assert front.process.wait(15) == 0
    assert "Traceback" not in front.process.log()


def test_several_workers_share_the_port(shared_server: Server, shop: Shop, start_front: StartFront) -> None:
    front = start_front(shared_server.url, *ALLOW, "--workers", "2")
    with ThreadPoolExecutor(8) as pool:
        assert {reply.status for reply in pool.map(lambda n: front.call("shop/list", n), range(40))} == {200}
    assert front.process.stop() == 0
