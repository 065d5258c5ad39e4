"""`macaque top`: the console in a terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios

from console.conftest import Site, Start, site, start_console
from console.test_api import serve, users
from processes import ROOT, Spawn, wait_until

__all__ = ["site", "start_console", "users"]


def test_one_picture_shows_what_there_is(site: Site, spawn: Spawn) -> None:
    serve(spawn, site)
    visitor = site.visitor().begin()
    visitor.post("api/messages", {"topic": "shop/nwe", "body": "[bold]eel[/bold]"})
    top = spawn(["-m", "macaque", "top", "--once", "--console", site.console], env={"COLUMNS": "200"})
    assert top.wait(20) == 0
    assert "messages: 1" in top.log() and "share:shop:shop/new" in top.log()
    assert "[bold]eel[/bold]" in top.log(), "names and bodies are no markup"
    assert "Nobody is subscribed to this topic" in top.log()


def test_it_goes_on_in_a_terminal_until_it_is_interrupted(site: Site) -> None:
    terminal, its_end = pty.openpty()
    fcntl.ioctl(its_end, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    command = [sys.executable, "-m", "macaque", "top", "--console", site.console]
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
        return text in shown

    with subprocess.Popen(command, stdout=its_end, stderr=its_end, stdin=its_end, cwd=ROOT) as top:
        try:
            wait_until(lambda: shows(b"messages: 0"), 20)
            site.visitor().begin().post("api/messages", {"topic": "t", "body": "m"})
            wait_until(lambda: shows(b"messages: 1"))
            top.send_signal(signal.SIGINT)
            assert top.wait(10) == 0
        finally:
            top.kill()
            os.close(terminal)
            os.close(its_end)


def test_no_console_is_one_line(spawn: Spawn) -> None:
    top = spawn(["-m", "macaque", "top", "--console", "http://127.0.0.1:1/"])
    assert top.wait(20) == 2
    said = r"macaque: there is no console at http://127\.0\.0\.1:1/ \(.*refused\); give its address with --console\n"
    assert re.fullmatch(said, top.log())


def test_a_console_with_users_is_one_line(start_console: Start, users: object, spawn: Spawn) -> None:
    site = start_console("--users", str(users))
    top = spawn(["-m", "macaque", "top", "--console", site.console])
    assert top.wait(20) == 2
    assert "has users: open it in a browser" in top.log() and "Traceback" not in top.log()
