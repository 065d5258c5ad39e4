from __future__ import annotations

from typing import Any

import pytest

import macaque
from processes import Server

CALLER = """
import sys, time, macaque
client = macaque.Client(timeout={timeout})
def got(data):
    {body}
{call}
"""


def script(body: str = "print('got', data)", call: str = "client.call('echo', 1, got)", timeout: float = 20.0) -> str:
    return CALLER.format(body=body, call=call, timeout=timeout)


@pytest.mark.parametrize(
    "text, output",
    [
        (script(), "got 1\n"),
        (script(call="print(client.call('echo', 2).result())"), "2\n"),
        (script(call="for n in range(3): client.call('echo', n, got)"), "got 0\ngot 1\ngot 2\n"),
        (script(body="time.sleep(0.3); print('got', data)"), "got 1\n"),
        (script(body="print(client.call('echo', data + 1).result())"), "2\n"),
        (script(body="print('got', data); data < 3 and client.call('echo', data + 1, got)"), "got 1\ngot 2\ngot 3\n"),
        (script(call="client.call('stuck', 1, print, on_error=lambda e: print(type(e).__name__))", timeout=0.5),
         "Timeout\n"),
        (script(call="client.call('stuck', 1)"), ""),
        (script(call="client.call('stuck', 1, got); client.close()"),
         "the call of 'stuck' failed: The client was closed before 'stuck' answered.\n"),
    ],
    ids=["callback", "future", "callbacks", "slow", "nested", "chained", "timeout", "forgotten", "closed"],
)  # fmt: skip
def test_a_process_ends_when_its_callbacks_have_run(
    shared_server: Server, app: macaque.Server, spawn: Any, text: str, output: str
) -> None:
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(15.0) == 0
    assert caller.log() == output


@pytest.mark.parametrize("body", ["sys.exit({})", "time.sleep(0.2); sys.exit({})", "exit({})"])
@pytest.mark.parametrize("ending", ["", "; time.sleep(30)"], ids=["main ended", "main runs"])
def test_exit_in_a_callback_ends_the_process_with_its_status(
    shared_server: Server, app: macaque.Server, spawn: Any, body: str, ending: str
) -> None:
    text = script(body=body.format(7), call=f"client.call('echo', 1, got){ending}")
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(10.0) == 7
    assert caller.log() == ""


def test_a_process_without_a_server_ends_by_the_deadline_of_its_call(nowhere: str, spawn: Any) -> None:
    caller = spawn(["-c", script(timeout=0.5)], env={"MACAQUE_BROKER": nowhere})
    assert caller.wait(15.0) == 0
    assert "the call of 'echo' failed: No connection to the broker" in caller.log()
    assert "Traceback" not in caller.log()


def test_a_process_under_gevent_ends_when_its_callbacks_have_run(
    shared_server: Server, app: macaque.Server, spawn: Any
) -> None:
    text = "from gevent import monkey; monkey.patch_all()\n" + script(
        call="client.call('echo', 1, got); print(client.call('echo', 2).result())"
    )
    caller = spawn(["-c", text], env={"MACAQUE_BROKER": shared_server.url})
    assert caller.wait(15.0) == 0
    assert sorted(caller.log().splitlines()) == ["2", "got 1"]
