"""A damaged store starts with everything that was committed, or is refused with one line; never with less."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mqlight.server.store import APPLICATION_ID, COMMITS, FILE, MIGRATIONS, Store, StoreError
from mqlight.server.write_ahead_log import transactions_behind_damage
from processes import ROOT
from server.test_store import batch, destination, save, sql

WAL = f"{FILE}-wal"
BATCHES = 30
FRAME = 24 + 4096
Contents = list[tuple[int, int, bytes]]


def everything(folder: Path) -> Contents | str:
    """The messages of a store that nobody has open, or the line with which it is refused."""
    try:
        with closing(Store(folder)) as store:
            destinations, messages = store.load()
            assert len(destinations) == 2
            return [(message.sequence, message.count, message.rest) for _, message in messages]
    except StoreError as error:
        assert "\n" not in str(error) and FILE in str(error)
        return str(error)


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that a killed server leaves: a file with half of 600 messages, and a log with the others."""
    folder, left = tmp_path_factory.mktemp("store"), tmp_path_factory.mktemp("left")
    with closing(Store(folder)) as store:
        for number in range(BATCHES):
            if number == BATCHES // 2:
                store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            first = number * 20
            puts = {sequence: b"%d" % sequence * 50 for sequence in range(first + 1, first + 21)}
            both = (destination(1), destination(2)) if not number else ()
            save(store, batch(*both, puts=puts))
        for name in (FILE, WAL, COMMITS):
            shutil.copy(folder / name, left / name)
    return left


@pytest.fixture(scope="module")
def whole(crashed: Path, tmp_path_factory: pytest.TempPathFactory) -> Contents:
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(crashed, copy, dirs_exist_ok=True)
    found = everything(copy)
    assert not isinstance(found, str) and len(found) == 600
    return found


@pytest.fixture
def copy(crashed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(crashed, tmp_path / "copy")


def flip(file: Path, offset: int, mask: int = 0x10) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= mask
    file.write_bytes(data)


@pytest.mark.parametrize("name", [FILE, WAL])
@pytest.mark.parametrize("marked", [True, False], ids=["", "without its number of transactions"])
def test_a_flipped_bit_costs_no_message_silently(
    crashed: Path, whole: Contents, tmp_path: Path, name: str, marked: bool
) -> None:
    chance = random.Random(f"{name} {marked}")
    size = (crashed / name).stat().st_size
    last = size - 8 * FRAME if name == WAL else size  # the last transaction needs the number: see below
    refusals = 0
    for round in range(40):
        folder = shutil.copytree(crashed, tmp_path / str(round))
        if not marked:
            (folder / COMMITS).unlink()
        flip(folder / name, chance.randrange(size if marked else last), 1 << chance.randrange(8))
        found = everything(folder)
        refusals += isinstance(found, str)
        assert isinstance(found, str) or found == whole
    assert refusals


@pytest.mark.parametrize("name", [FILE, WAL])
def test_a_file_that_is_cut_off_anywhere_costs_no_message_silently(
    crashed: Path, whole: Contents, tmp_path: Path, name: str
) -> None:
    chance = random.Random(name)
    size = (crashed / name).stat().st_size
    for round, end in enumerate([0, 1, 31, 32, 33, 4096, size - 1, size - FRAME, *chance.choices(range(size), k=20)]):
        folder = shutil.copytree(crashed, tmp_path / str(round))
        with (folder / name).open("r+b") as file:
            file.truncate(end)
        found = everything(folder)
        assert isinstance(found, str) or found == whole, f"cut off at {end}"


@pytest.mark.parametrize("offset", [0, 3, 8, 16, 20, 24, 31], ids=str)
def test_a_damaged_header_of_the_log_is_noticed(copy: Path, offset: int) -> None:
    (copy / COMMITS).unlink()
    flip(copy / WAL, offset, 1)
    assert "of the transactions in messages.sqlite-wal follow a damaged one" in str(everything(copy))


def test_a_damaged_frame_before_good_ones_is_refused_and_nothing_is_changed(copy: Path) -> None:
    flip(copy / WAL, 32 + FRAME + 1000)
    before = {path.name: path.read_bytes() for path in copy.iterdir()}
    line = str(everything(copy))
    assert "is damaged: " in line and "it was not changed; move it away" in line
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == before


def test_an_empty_file_beside_a_log_is_refused(copy: Path) -> None:
    (copy / FILE).write_bytes(b"")
    assert "the file is empty or not there, and its log messages.sqlite-wal is not empty" in str(everything(copy))
    (copy / FILE).unlink()
    assert "the file is empty or not there" in str(everything(copy))


@pytest.mark.parametrize("name", [FILE, WAL])
def test_a_lost_file_is_missed(copy: Path, name: str) -> None:
    (copy / name).unlink()
    if name == FILE:
        (copy / WAL).unlink()
    line = str(everything(copy))
    assert "transactions; it was not changed; move it away, or delete the file messages.commits beside it" in line


@pytest.mark.parametrize("noted", [b"ab", b"1_0", b"-1", b" 7", b"7\nx", b"\xff"])
def test_a_number_of_transactions_that_is_none_is_refused(copy: Path, noted: bytes) -> None:
    (copy / COMMITS).write_bytes(noted)
    line = str(everything(copy))
    assert line.endswith("messages.commits holds no number; it was not changed; move it away, or choose another folder")
    assert (copy / COMMITS).read_bytes() == noted


@pytest.mark.parametrize("noted", [b"", b"\0" * 21])
def test_a_number_that_a_power_cut_took_is_not_known(copy: Path, whole: Contents, noted: bytes) -> None:
    (copy / COMMITS).write_bytes(noted)
    assert everything(copy) == whole


def test_the_operator_can_go_on_with_what_is_left(copy: Path) -> None:
    (copy / WAL).unlink()
    (copy / COMMITS).unlink()
    found = everything(copy)
    assert not isinstance(found, str) and len(found) == 300


def test_a_transaction_that_a_crash_cut_off_is_no_damage(copy: Path, whole: Contents) -> None:
    """It was never reported to be safe: frames without an end, or with a part of them missing."""
    with (copy / WAL).open("ab") as file:
        frames = (copy / WAL).read_bytes()[32 : 32 + 2 * FRAME]
        file.write(frames + frames[:1000])
    assert everything(copy) == whole


def test_the_last_transaction_may_be_there_in_part_after_a_power_cut(crashed: Path, copy: Path) -> None:
    """The disk had written its end and not its middle, and nobody was told that it is safe."""
    with closing(Store(copy)) as store:
        save(store, batch(puts={9000: b"x" * 20_000}))
        left = shutil.copytree(copy, copy.parent / "left")
    (left / COMMITS).write_bytes((crashed / COMMITS).read_bytes())
    frames = ((left / WAL).stat().st_size - 32) // FRAME
    flip(left / WAL, 32 + (frames - 3) * FRAME + 100)
    assert transactions_behind_damage(left / WAL) == 1
    found = everything(left)
    assert not isinstance(found, str) and found[-1][0] == 600
    found_again = everything(left)
    assert found_again == found


@pytest.mark.parametrize("kind", ["folder", "text", "zeros"])
def test_what_is_no_store_is_refused_with_one_line(tmp_path: Path, kind: str) -> None:
    if kind == "folder":
        (tmp_path / FILE).mkdir()
    else:
        (tmp_path / FILE).write_bytes(b"hello" if kind == "text" else bytes(8192))
    assert isinstance(everything(tmp_path), str)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE message SET priority = 300 WHERE sequence = 7",
        "UPDATE message SET count = 3 WHERE sequence = 7",
        "UPDATE message SET count = 4294967296 WHERE sequence = 7",
        "UPDATE message SET count = 'many' WHERE sequence = 7",
        "UPDATE message SET rest = 'text' WHERE sequence = 7",
        "UPDATE message SET expires = 9e999 WHERE sequence = 7",
        "UPDATE message SET destination = 2 WHERE sequence = 7",
        "DELETE FROM message WHERE sequence = 7",
        "DELETE FROM destination WHERE number = 1",
        "UPDATE destination SET pattern = 'b' WHERE number = 1",
        "UPDATE destination SET ttl = -1 WHERE number = 1",
        "UPDATE state SET messages = 'all'",
        "DELETE FROM state",
        "DROP TABLE state",
        "PRAGMA user_version = 0",
    ],
)
def test_a_row_that_is_not_as_it_was_written_is_refused(copy: Path, whole: Contents, statement: str) -> None:
    assert everything(copy) == whole
    sql(copy, statement)
    line = everything(copy)
    assert isinstance(line, str) and FILE in line


def test_a_store_of_the_first_version_gets_its_checksums(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as db:
        MIGRATIONS[0](db)
        for number in (1, 2):
            db.execute("INSERT INTO destination VALUES (?, 'a/#', 's', NULL, 60.0, NULL)", (number,))
        db.execute("INSERT INTO message VALUES (7, 1, 4e9, 3, 1, 4, ?)", (b"old",))
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("PRAGMA user_version = 1")
        db.commit()
    assert everything(tmp_path) == [(7, 3, b"old")]
    assert everything(tmp_path) == [(7, 3, b"old")]
    sql(tmp_path, "UPDATE message SET rest = x'00'")
    assert "the message 7 has a wrong checksum" in str(everything(tmp_path))


def test_a_second_store_of_a_process_does_not_give_up_the_lock_of_the_first(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from mqlight.server.store import Store; Store(Path({str(tmp_path)!r}))"
    Store(tmp_path).close()
    with closing(Store(tmp_path)):  # nothing is written, so there is no log whose look comes first
        with pytest.raises(StoreError, match="in use"):
            Store(tmp_path)
        other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert "is in use by another server" in other.stderr


# Who may read it


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.iterdir()]}


@pytest.fixture
def open_umask() -> Iterator[None]:
    """Files are for everybody unless told otherwise."""
    before = os.umask(0)
    yield
    os.umask(before)


def test_only_its_owner_may_read_a_store(tmp_path: Path, open_umask: None) -> None:
    folder = tmp_path / "new"
    with closing(Store(folder)) as store:
        save(store, batch(destination(), puts={1: b"a"}))
        assert modes(folder) == {"new": 0o700, FILE: 0o600, WAL: 0o600, COMMITS: 0o600}


def test_a_store_that_others_may_read_is_closed_to_them(
    copy: Path, open_umask: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for path in [*copy.iterdir(), copy]:
        path.chmod(0o777 if path == copy else 0o666)
    with closing(Store(copy)) as store:
        save(store, batch(puts={9000: b"a"}))
        assert f"other users could read {copy}; its mode is 700 now" in caplog.text
        assert modes(copy) == {"copy": 0o700, FILE: 0o600, WAL: 0o600, COMMITS: 0o600}


def test_a_folder_with_files_of_others_is_left_as_it_is_with_a_warning(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (copy / "mine").write_text("")
    copy.chmod(0o755)
    Store(copy).close()
    assert modes(copy)["copy"] == 0o755
    assert f"other users can enter the folder {copy} of the store; run chmod 700 on it" in caplog.text
