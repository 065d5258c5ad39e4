"""The log of the front end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from processes import Server
from web.conftest import READY, Site


@pytest.mark.parametrize("how", ["flag", "variable"])
def test_a_sentence_is_one_line_of_json_where_that_is_wanted(
    server: Server, spawn: Any, start_backend: Any, how: str
) -> None:
    start_backend()
    options = ["--log-format", "json"] if how == "flag" else []
    environ = {"MACAQUE_BROKER": server.url, "PORT": "0"} | ({} if options else {"FRONTEND_LOG_FORMAT": "json"})
    process = spawn(["-m", "frontend", *options], env=environ)
    site = Site(process, process.expect(READY)[1])
    site.wait_until_connected()
    site.visitor().submit("a b c")
    site.visitor().fetch(3)
    lines = [json.loads(line) for line in process.log().splitlines() if not line.startswith("The page is at")]
    said = [line for line in lines if line["logger"].startswith("frontend")]
    assert [(line["level"], line["message"]) for line in said] == [("info", "sent 3 words")]
    assert {"time", "level", "logger", "message"} == set(said[0])


def test_the_level_debug_logs_each_request_and_an_unknown_level_is_refused(server: Server, spawn: Any) -> None:
    process = spawn(["-m", "frontend", "--log-level", "debug"], env={"MACAQUE_BROKER": server.url, "PORT": "0"})
    Site(process, process.expect(READY)[1]).visitor().get("healthz")
    process.expect(r'"GET /healthz HTTP/1.1" 200')
    wrong = spawn(["-m", "frontend", "--log-level", "loud"])
    assert wrong.wait(20) == 2 and "Traceback" not in wrong.log()
