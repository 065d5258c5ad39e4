"""The write-ahead log, read without SQLite."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mqlight.server.write_ahead_log import transactions_behind_damage

FRAME = 24 + 4096


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of five transactions of one page each."""
    with closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE thing (number INTEGER PRIMARY KEY)")
        db.execute("PRAGMA wal_checkpoint(RESTART)")
        for number in range(5):
            db.execute("INSERT INTO thing VALUES (?)", (number,))
        return Path(shutil.copy(tmp_path / "db-wal", tmp_path / "log"))


def flip(log: Path, offset: int) -> None:
    data = bytearray(log.read_bytes())
    data[offset] ^= 1
    log.write_bytes(data)


def test_a_whole_log_hides_nothing(log: Path) -> None:
    assert log.stat().st_size == 32 + 5 * FRAME
    assert transactions_behind_damage(log) == 0


@pytest.mark.parametrize("frame", range(5))
@pytest.mark.parametrize("place", [0, 7, 8, 24, 4119])
def test_all_transactions_behind_a_damaged_frame_are_counted(log: Path, frame: int, place: int) -> None:
    flip(log, 32 + frame * FRAME + place)
    assert transactions_behind_damage(log) == 4 - frame


def test_a_damaged_checksum_makes_two_frames_bad(log: Path) -> None:
    flip(log, 32 + FRAME + 16)
    assert transactions_behind_damage(log) == 2


@pytest.mark.parametrize("end", [0, 31, 32, 32 + FRAME - 1, 32 + 3 * FRAME, 32 + 3 * FRAME + 100])
def test_a_log_that_ends_early_hides_nothing(log: Path, end: int) -> None:
    log.write_bytes(log.read_bytes()[:end])
    assert transactions_behind_damage(log) == 0


@pytest.mark.parametrize("place", [0, 3, 11, 17, 23, 31])
def test_behind_a_damaged_header_is_the_whole_log(log: Path, place: int) -> None:
    flip(log, place)
    assert transactions_behind_damage(log) >= 4


def test_frames_of_an_older_log_are_no_transactions_of_this_one(log: Path) -> None:
    data = bytearray(log.read_bytes())
    for frame in (3, 4):
        data[32 + frame * FRAME + 8] ^= 1  # another salt
    log.write_bytes(data)
    assert transactions_behind_damage(log) == 0
