"""`macaque dev` as a developer uses it: real processes, a real terminal's Ctrl-C, and files that change."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import sys
import urllib.request
from pathlib import Path

import click
import pytest

import macaque
from commands import Command
from macaque.cli.dev import dev, guessed
from processes import ROOT, Process, Server, Spawn, wait_until

SHOP = """
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import macaque

app = macaque.Server()


@dataclass
class Order:
    item: str
    count: int = 1


@app.service("shop/total", share_id="shop")
def total(order: Order) -> int:
    return 30 * order.count


@app.service("shop/count")
def count(to: int) -> Iterator[int]:
    yield from range(to)


@app.service("shop/pid", share_id="shop")
def pid(data):
    if data == "slow":
        print("slow begins", flush=True)
        time.sleep(1)
    return os.getpid()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


def start(spawn: Spawn, folder: Path, *options: str) -> tuple[Process, str]:
    """Start the command, and return it with the URL of its server."""
    process = spawn(["-m", "macaque", "dev", "--port", "0", "--console-port", "0", *options], cwd=folder)
    return process, process.expect(r"ready at (amqp://\S+)$")[1]


def save(folder: Path, text: str) -> None:
    """Save the services as an editor does: at once."""
    (folder / "shop.new").write_text(text)
    (folder / "shop.new").replace(folder / "shop.py")


def page(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        return str(response.read().decode())


def workers(process: Process) -> list[int]:
    return [int(number) for number in re.findall(r"worker \d+ is process (\d+)", process.log())]


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def free(url: str) -> bool:
    """Return whether a server may listen at a URL again."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", int(re.findall(r"\d+", url)[-1])))
        except OSError:
            return False
    return True


def test_one_command_starts_server_console_and_services_and_tells_how_to_call_them(spawn: Spawn, folder: Path) -> None:
    process, url = start(spawn, folder)
    console = process.expect(r"console at (http://\S+)$")[1]
    shown = process.expect(r"shop.py serves. Call it from another terminal:\n((?: {4}.*\n){4})")[1]
    lines = [shlex.split(line) for line in shown.splitlines()]
    assert lines[0] == ["export", f"MACAQUE_BROKER={url}"]
    assert lines[1][:2] == ["macaque", "call"]
    called = [Command(*words[1:], broker=url) for words in lines[1:]]
    assert [each.code for each in called] == [0, 0, 0], [each.err for each in called]
    assert [each.out for each in called][:2] == ["30\n", "0\n"]
    assert "console" in page(console)
    assert process.stop() == 0
    assert free(url) and free(console) and all(map(gone, workers(process)))


def test_the_services_are_on_http_as_well_if_a_port_is_given(spawn: Spawn, folder: Path) -> None:
    process, _ = start(spawn, folder, "--http", "0")
    url = process.expect(r"The gateway is at (http://\S+/)$")[1]
    words = shlex.split(process.expect(r"^    curl -H .*/shop/total$")[0])
    assert words[-1] == f"{url}shop/total"
    data, headers = words[words.index("-d") + 1].encode(), dict([words[words.index("-H") + 1].split(": ")])
    with urllib.request.urlopen(urllib.request.Request(words[-1], data, headers), timeout=10) as response:
        assert response.read() == b"30"
    wait_until(lambda: "shop/count" in page(url), what="a page that names the services")
    assert process.stop() == 0
    assert free(url) and "lost" not in process.log()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_the_gateway_ends_with_the_command(spawn: Spawn, folder: Path, end: signal.Signals) -> None:
    process, _ = start(spawn, folder, "--http", "0")
    url = process.expect(r"The gateway is at (http://\S+/)$")[1]
    process.expect("Call it from another terminal")
    process.signal(end)
    wait_until(lambda: free(url), what="the end of the gateway")


def test_a_saved_file_starts_the_services_again_also_after_one_that_cannot_be_imported(
    spawn: Spawn, folder: Path
) -> None:
    process, url = start(spawn, folder, "shop:app", "--workers", "2")
    process.expect(r"worker 2: \S+ serves shop/pid")
    save(folder, SHOP + "def (:\n")
    process.expect(r"SyntaxError: invalid syntax \(shop.py, line \d+\)\n(.*\n)*.*The next change of a file starts it")
    with macaque.Client(broker=url, timeout=30.0) as client:
        waiting = client.call("shop/total", {"item": "tea", "count": 2})  # the server keeps it meanwhile
        save(folder, SHOP.replace("30 *", "50 *"))
        assert waiting.result() == 100
    process.expect(r"(?s)The next change.*worker 2: \S+ serves shop/pid")
    assert process.log().count("Traceback (most recent call last)") == 1
    assert process.log().count("shop:app serves. Call it") == 1
    save(folder, SHOP.replace("shop/total", "shop/sum"))
    process.expect(r"(?s)serves. Call it.*serves. Call it.*\n    macaque call shop/sum '")
    assert process.stop() == 0


def test_a_file_of_another_folder_is_watched_as_well(spawn: Spawn, folder: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process, _ = start(spawn, elsewhere, "../shop.py")
    process.expect("    macaque call shop/total '")
    save(folder, SHOP.replace("shop/total", "shop/sum"))
    process.expect("    macaque call shop/sum '")
    assert process.stop() == 0


def test_ctrl_c_lets_requests_finish_before_the_server_ends(spawn: Spawn, folder: Path) -> None:
    process, url = start(spawn, folder)
    process.expect("Call it from another terminal")
    with macaque.Client(broker=url, timeout=20.0) as client:
        slow = client.call("shop/pid", "slow")
        process.expect("slow begins")
        os.killpg(process.pid, signal.SIGINT)
        assert [slow.result()] == workers(process)
    assert process.wait() == 0
    assert free(url)
    assert "lost" not in process.log() and "Traceback" not in process.log()


def test_a_killed_command_leaves_no_process_behind(spawn: Spawn, folder: Path) -> None:
    process, url = start(spawn, folder, "--workers", "2")
    process.expect(r"worker 2: \S+ serves shop/pid")
    process.kill()
    wait_until(lambda: free(url) and all(map(gone, workers(process))), what="the end of all processes")


def test_a_breakpoint_in_a_service_takes_commands_from_the_terminal(spawn: Spawn, folder: Path) -> None:
    (folder / "shop.py").write_text(SHOP.replace("return os.getpid()", "breakpoint()\n    return data"))
    os.mkfifo(folder / "keys")
    command = '"$0" -m macaque dev shop:app --port 0 --console-port 0 < keys'
    process = spawn(command=["sh", "-c", f"exec {command}", sys.executable], cwd=folder)
    with (folder / "keys").open("w", buffering=1) as keys:
        url = process.expect(r"ready at (amqp://\S+)$")[1]
        process.expect("Call it from another terminal")
        with macaque.Client(broker=url, timeout=20.0) as client:
            call = client.call("shop/pid", 1)
            process.expect(r"> \S*shop.py\(\d+\)pid\(\)")
            keys.write("p data + 41\nc\n")
            assert call.result() == 1
            process.expect(r"\(Pdb\) 42$")
    assert process.stop() == 0


def test_the_end_of_the_server_ends_the_services(spawn: Spawn, folder: Path) -> None:
    process, _ = start(spawn, folder, "--data", "kept")
    process.expect("Call it from another terminal")
    children = " ".join(path.read_text() for path in Path(f"/proc/{process.pid}/task").glob("*/children"))
    (server,) = set(map(int, children.split())) - set(workers(process))
    os.kill(server, signal.SIGKILL)
    assert process.wait() == 1
    assert "the server was ended by SIGKILL, so everything ends" in process.log()
    assert all(map(gone, workers(process)))


def test_messages_survive_in_the_folder_of_the_data(spawn: Spawn, folder: Path) -> None:
    process, url = start(spawn, folder, "shop", "--data", "kept", "--no-reload")
    process.expect("Call it from another terminal")
    os.kill(workers(process)[0], signal.SIGSTOP)
    with macaque.Client(broker=url) as client:
        client.notify("shop/pid", "slow").result(10)
    assert process.stop() == 0
    process, _ = start(spawn, folder, "shop", "--data", "kept", "--no-reload")
    process.expect("slow begins")
    assert process.stop() == 0


def test_an_app_that_cannot_be_imported_ends_the_command_without_reload(spawn: Spawn, folder: Path) -> None:
    (folder / "shop.py").write_text("import macaque\napp = macaque.Server()\nimport nothing_of_that_name\n")
    process, url = start(spawn, folder, "--no-reload")
    assert process.wait() == 2
    assert "shop cannot be imported: No module named 'nothing_of_that_name'" in process.log()
    assert free(url)


def test_an_app_without_services_is_told_so(spawn: Spawn, folder: Path) -> None:
    (folder / "shop.py").write_text("import macaque\napp = macaque.Server()\n")
    process, _ = start(spawn, folder)
    process.expect(r"shop.py has no services: write one with @app.service")
    assert process.stop() == 0


def test_a_taken_port_is_told_with_the_program_that_has_it(server: Server, folder: Path) -> None:
    said = Command("dev", "shop:app", "--port", str(server.port), cwd=folder).failed(2)
    assert f"port {server.port} is taken by a broker (macaque mqlight server); use it: macaque run shop:app" in said
    assert "or choose another port for this one: macaque dev shop:app --port 0" in said
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        said = Command("dev", "--port", str(other.getsockname()[1]), cwd=folder).failed(2)
        assert "is taken by another program; choose another port for this one: macaque dev shop.py --port 0" in said
        for option in "--console-port", "--http":
            said = Command("dev", "--port", "0", option, str(other.getsockname()[1]), cwd=folder).failed(2)
            assert f"choose another port for this one: macaque dev shop.py {option} 0" in said


@pytest.mark.parametrize(
    ("missing", "options", "said"),
    [
        ("'gevent', 'bottle', 'watchfiles'", [], "macaque dev needs gevent and bottle and watchfiles"),
        ("'watchfiles'", [], "macaque dev needs watchfiles: pip install 'macaque-amqp[dev]'"),
        ("'gevent', 'watchfiles'", ["--no-reload"], "macaque dev needs gevent: pip install 'macaque-amqp[dev]'"),
        ("'limits'", ["--http", "0"], "macaque dev needs limits: pip install 'macaque-amqp[dev,gateway]'"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    spawn: Spawn, folder: Path, missing: str, options: list[str], said: str
) -> None:
    program = f"""
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in ({missing},) else find(name)
sys.argv[0] = "macaque"
from macaque.cli import main
main()
"""
    process = spawn(["-c", program, "dev", "--port", "0", *options], cwd=folder)
    assert process.wait() == 2
    assert process.log().startswith(f"macaque: {said}") and process.log().count("\n") == 1


def test_the_file_that_makes_a_server_is_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def failure() -> str:
        with pytest.raises(SystemExit):
            guessed(tmp_path)
        return capsys.readouterr().err

    assert "makes a macaque.Server; name the module: macaque dev MODULE" in failure()
    server = "import macaque\nserver = macaque.Server()\n"
    (tmp_path / "buy.py").write_text("import macaque\nclient = macaque.Client()\n")
    (tmp_path / "test_shop.py").write_text(server)
    (tmp_path / "shop.py").write_text(server + "def (:\n")
    assert guessed(tmp_path) == "shop.py"
    (tmp_path / "stock.py").write_text(server)
    assert "shop.py and stock.py make a macaque.Server; name one: macaque dev shop.py" in failure()
    (tmp_path / "main.py").write_text("from macaque import Server\nserver = Server()\n")
    assert guessed(tmp_path) == "main.py"
    (tmp_path / "app.py").write_bytes(b"import macaque\n\xff = macaque.Server()\n")
    assert guessed(tmp_path) == "app.py"


def test_the_page_names_every_option() -> None:
    page = (ROOT / "docs/command.md").read_text(encoding="utf-8").split("## macaque dev", 1)[1].split("\n## ", 1)[0]
    options = {option for each in dev.params if isinstance(each, click.Option) for option in each.opts}
    assert {option for option in options if f"`{option}" not in page} == set()
