from __future__ import annotations

import json
import re

import macaque
import mqlight
from commands import Command
from processes import Server, Spawn


def test_messages_are_shown_as_they_pass(server: Server, spawn: Spawn) -> None:
    app = macaque.Server(broker=server.url)
    app.service("orders/new")(lambda data: macaque.abort(404, "no\x1b[31m") if data == "wine" else data)
    watching = spawn(["-m", "macaque", "sub", "#", "--broker", server.url], ready="listening to #")
    with app, macaque.Client(broker=server.url) as client:
        client.call("orders/new", {"item": "milk"}).result()
        client.call("orders/new", "wine").exception()
        watching.expect(r"^\d\d:\d\d:\d\d  orders/new  \{\"item\":\"milk\"\}$")
        watching.expect(r"^\d\d:\d\d:\d\d  response/\S+  \{\"item\":\"milk\"\}$")
        watching.expect(r"^\d\d:\d\d:\d\d  response/\S+  error \{\"code\":404,\"message\":\"no\\u001b\[31m\"")


def test_messages_are_json_lines_for_programs_and_end_by_their_count(server: Server, spawn: Spawn) -> None:
    watching = spawn(
        ["-m", "macaque", "sub", "orders/+", "--json", "--count", "2", "--broker", server.url],
        ready="listening to orders/",
    )
    with macaque.Client(broker=server.url) as client:
        for number in range(2):
            client.notify("orders/new", number).result()
    assert watching.wait() == 0
    first, second = [json.loads(line) for line in watching.log().splitlines() if line.startswith("{")]
    assert (first["topic"], first["data"], second["data"]) == ("orders/new", 0, 1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*", first["time"]) and first["uuid"] and first["source"]


def test_a_topic_is_shown_without_the_service_that_some_clients_write_before_it(server: Server, spawn: Spawn) -> None:
    watching = spawn(["-m", "macaque", "sub", "news/#", "--broker", server.url], ready="listening to news/")
    connection = mqlight.Connection(mqlight.Addresses.of(server.url), "sender")
    message = mqlight.encode(mqlight.Message(body="Hello", to=f"{server.url}/news/local"))
    connection.start()
    try:
        connection.publish("news/local", message)
        watching.expect(r"^\d\d:\d\d:\d\d  news/local  \"Hello\"$")
    finally:
        connection.stop()


def test_a_sub_that_cannot_work_is_one_line_and_status_2(server: Server) -> None:
    assert "topic" in Command("sub", "", broker=server.url).failed(2)
    assert "cannot be used" in Command("sub", "#", "--broker", "ftp://x").failed(2)
