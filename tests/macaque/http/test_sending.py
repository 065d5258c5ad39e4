"""The way of a request of HTTP into a client."""

from __future__ import annotations

import pytest

import macaque
from macaque.http import sending
from macaque.http.answer import Problem
from macaque.http.request import Wanted
from macaque.traces import Trace

BOUND = 10.0
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def wanted(data: object, topic: str = "echo", uuid: str | None = None, trace: Trace | None = None) -> Wanted:
    return Wanted(topic, data, BOUND, False, uuid, trace)


def test_a_request_is_a_call_a_stream_or_a_message(app: macaque.Server, client: macaque.Client) -> None:
    assert sending.send(client, wanted(5)).result() == 5
    call, parts = sending.stream(client, wanted(5))
    assert (list(parts), call.plain, call.done()) == ([5], True, True)
    assert sending.notify(client, wanted(5)).result() is None


def test_a_key_that_is_in_flight_is_a_problem(app: macaque.Server, client: macaque.Client) -> None:
    first = client.call("stuck", 5, uuid="key")
    for send in sending.send, sending.stream, sending.notify:
        with pytest.raises(Problem) as caught:
            send(client, wanted(5, uuid="key"))
        assert caught.value.status == 409
    app.go.set()  # type: ignore[attr-defined]
    assert first.result() == 5


def test_data_that_can_be_read_but_not_sent_is_a_problem(client: macaque.Client) -> None:
    data: list[object] = []
    for _ in range(100_000):
        data = [data]
    for send in sending.send, sending.stream, sending.notify:
        with pytest.raises(Problem, match="nested too deeply") as caught:
            send(client, wanted(data))
        assert caught.value.status == 400


def test_an_answer_names_the_trace(app: macaque.Server, client: macaque.Client) -> None:
    trace = Trace(PARENT)
    request = wanted(5, trace=trace)
    assert sending.trace_header(sending.send(client, request), request) == ("traceparent", PARENT)
    app.service("id")(lambda data: macaque.request.trace_id)
    request = wanted(5, uuid="8e03978e-40d5-43dd-bc93-6894a57f9324")
    call = sending.send(client, request)
    name, parent = sending.trace_header(call, request)
    assert (name, len(parent)) == ("traceparent", 55)
    assert parent[3:35] == "8e03978e40d543ddbc936894a57f9324"


def test_a_request_that_was_not_accepted_found_no_room(client: macaque.Client) -> None:
    call = client.call("nobody/here", 5)
    with pytest.raises(macaque.NoResponders):
        call.result()
    late = macaque.Timeout("late", topic="t", timeout=1.0)
    assert sending.ended(call, late).status == 503
    call._accepted = True
    assert sending.ended(call, late).status == 504
