"""Workers that cannot start, or are started again because a file has changed."""

from __future__ import annotations

from pathlib import Path

import pytest

import macaque
from commands import Command
from processes import Server, Spawn
from workers import SERVICES, run, workers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "services.py").write_text(SERVICES)
    return tmp_path


def test_workers_that_die_again_and_again_are_given_up(server: Server, spawn: Spawn, folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES + "\nimport threading\nthreading.Timer(0.01, os._exit, [7]).start()\n")
    process = run(spawn, server, folder, "--workers", "2")
    assert process.wait(60) == 7
    assert "has ended with exit code 7. It would end again, so all workers stop" in process.log()


def test_a_worker_that_cannot_start_stops_all(server: Server, spawn: Spawn, folder: Path) -> None:
    (folder / "services.py").write_text("import nothing_of_that_name\n")
    process = run(spawn, server, folder, "--workers", "2")
    assert process.wait() == 2
    assert "services cannot be imported: No module named 'nothing_of_that_name'" in process.log()


def test_a_changed_file_starts_the_workers_again_also_after_a_syntax_error(
    server: Server, spawn: Spawn, folder: Path
) -> None:
    process = run(spawn, server, folder, "--reload")
    workers(process, 1)
    (folder / "services.py").write_text("def (:\n")
    process.expect(r"services.py has changed: the workers are started again")
    process.expect(r"(?s)Traceback.*SyntaxError.*The next change of a file starts it again")
    (folder / "services.py").write_text(SERVICES.replace("os.getpid()", "'new'"))
    workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        assert client.call("who", None).result() == "new"
    assert process.stop() == 0


def test_a_command_that_cannot_work_is_one_line_and_status_2(folder: Path) -> None:
    for arguments, said in (
        (["./shop/services.py"], "there is no file ./shop/services.py in "),
        (["services:ap"], "services has no ap; did you mean services:app?"),
        (["services:app", "--workers", "2", "--health-port", "8080"], "2 workers cannot share the health port 8080"),
        (["services:app", "--broker", "ftp://x"], "the URL in --broker cannot be used"),
    ):
        assert said in Command("run", *arguments, cwd=folder).failed(2)
    done = Command("run", "services:app", "--reload", "--reload-dir", "missing", cwd=folder)
    assert done.code == 2 and "Directory 'missing' does not exist" in done.err


def test_an_app_that_gevent_patches_is_started_again_as_well(server: Server, spawn: Spawn, folder: Path) -> None:
    patched = f"from gevent import monkey\n\nmonkey.patch_all()\n{SERVICES}"
    (folder / "services.py").write_text(patched)
    process = run(spawn, server, folder, "--reload")
    workers(process, 1)
    (folder / "services.py").write_text(patched.replace("os.getpid()", "'new'"))
    workers(process, 2)
    with macaque.Client(broker=server.url, timeout=20.0) as client:
        assert client.call("who", None).result() == "new"
    assert process.stop() == 0
    assert "did not end in time" not in process.log()
