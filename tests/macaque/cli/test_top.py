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

from console.conftest import Site, Start, log_in, serve, site, start_console, users
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


def test_a_console_with_users_asks_for_a_login(start_console: Start, users: object, spawn: Spawn) -> None:
    site = start_console("--users", str(users))
    host = site.console.split("//")[1]
    log_in(site, "chief").post("api/messages", {"topic": "pond/1", "body": "one"})
    top = spawn(["-m", "macaque", "top", "--console", site.console])
    assert top.wait(20) == 2
    assert "has users: give http://USER:PASSWORD@HOST:PORT/" in top.log() and "Traceback" not in top.log()
    top = spawn(["-m", "macaque", "top", "--once", "--console", f"http://fish:right@{host}"])
    assert top.wait(20) == 0 and "messages: 1" in top.log()
    top = spawn(["-m", "macaque", "top", "--once"], env={"MACAQUE_CONSOLE": f"http://fish:right@{host}"})
    assert top.wait(20) == 0
    top = spawn(["-m", "macaque", "top", "--once", "--console", f"http://fish:wrong@{host}"])
    assert top.wait(20) == 2
    assert "refused: wrong user or password" in top.log()
    assert "fish" not in top.log() and "wrong@" not in top.log(), "the login stays out of the terminal"


def test_a_password_is_asked_for_in_a_terminal(start_console: Start, users: object) -> None:
    site = start_console("--users", str(users))
    terminal, its_end = pty.openpty()
    command = [sys.executable, "-m", "macaque", "top", "--once", "--console", site.console]
    shown = b""

    def shows(text: bytes) -> bool:
        nonlocal shown
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65536)
        return text in shown

    with subprocess.Popen(command, stdout=its_end, stderr=its_end, stdin=its_end, cwd=ROOT) as top:
        try:
            wait_until(lambda: shows(b"User"), 20)
            os.write(terminal, b"fish\n")
            wait_until(lambda: shows(b"Password"))
            os.write(terminal, b"right\n")
            wait_until(lambda: shows(b"messages: 0"))
            assert b"right" not in shown
            assert top.wait(10) == 0
        finally:
            top.kill()
            os.close(terminal)
            os.close(its_end)


def test_a_password_is_not_sent_over_the_network_in_the_clear(spawn: Spawn) -> None:
    top = spawn(["-m", "macaque", "top", "--console", "http://fish:right@console.example:9180/"])
    assert top.wait(20) == 2
    assert "a password goes to console.example:9180 over https only" in top.log() and "right" not in top.log()
