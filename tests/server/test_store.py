"""The store's file: what comes back of what was committed, and what is not taken for a store."""

from __future__ import annotations

import resource
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from mqlight.server.destination import Destination, DestinationName
from mqlight.server.journal import Batch, Put, Receipt
from mqlight.server.publication import Publication
from mqlight.server.queued import Stored
from mqlight.server.store import APPLICATION_ID, COMMITS, FILE, MIGRATIONS, Store, StoreError, WriteError

RECEIPT = Receipt(lambda condition: None)


def destination(number: int = 1, name: DestinationName | None = None, ttl: float = 60.0) -> Destination:
    made = Destination(name or DestinationName("a/#", share="s"), number)
    made.ttl = ttl
    return made


def batch(*destinations: Destination, puts: dict[int, bytes] | None = None, number: int = 1) -> Batch:
    """Destinations, and messages by sequence for the one of that number."""
    made = Batch()
    made.destinations = dict.fromkeys(destinations)
    for sequence, rest in (puts or {}).items():
        message = Stored.of(Publication("t", None, False, 0, 4, rest), None, sequence)
        made.puts[sequence] = Put(destination(number), message, RECEIPT, 0.0)
    return made


def save(store: Store, *batches: Batch) -> None:
    for one in batches:
        store.write(one)
        store.commit()


def contents(folder: Path) -> list[tuple[int, int, bytes]]:
    """Sequence, delivery count and bytes of each message in a store that nobody has open."""
    with closing(Store(folder)) as store:
        return [(message.sequence, message.count, message.rest) for _, message in store.load()[1]]


def sql(folder: Path, *statements: str) -> list[tuple[object, ...]]:
    """Run statements on the file of a store that nobody has open; returns the rows of the last one."""
    with closing(sqlite3.connect(folder / FILE)) as db:
        for statement in statements:
            rows = db.execute(statement).fetchall()
        db.commit()
        return rows


def crash(folder: Path) -> Path:
    """Add to a store, and return a folder with what a crash would leave then: the file, and what is only in its log."""
    left = folder / "left"
    left.mkdir()
    with closing(Store(folder)) as store:
        if not store.load()[1]:
            save(store, batch(destination(), puts={1: b"a"}))
        save(store, batch(puts={2000: b"in the log"}))
        for name in (FILE, f"{FILE}-wal"):
            (left / name).write_bytes((folder / name).read_bytes())
    return left


# What comes back


def test_every_part_of_a_message_comes_back(tmp_path: Path) -> None:
    rest = bytes(range(256)) * 300
    message = Stored.of(Publication("t", None, True, 7, 9, rest), 1234.5, 2**40)
    made = batch(destination(3))
    made.puts[message.sequence] = Put(destination(3), message, RECEIPT, 0.0)
    with closing(Store(tmp_path, offset=lambda: 1e9)) as store:
        save(store, made)
    with closing(Store(tmp_path, offset=lambda: 1e9 + 1000)) as store:
        ((number, found),) = store.load()[1]
    assert (number, found.sequence, found.stored) == (3, 2**40, True)
    assert (found.rest, found.durable, found.count, found.priority) == (rest, True, 7, 9)
    assert found.expires == pytest.approx(234.5)


@pytest.mark.parametrize(
    "name",
    [
        DestinationName("a/#", share="s"),
        DestinationName("a/+", client_id="c"),
        DestinationName("ö\0'\"/ 😀", share=""),
        DestinationName("#", client_id=""),
    ],
)
def test_every_part_of_a_destination_comes_back(tmp_path: Path, name: DestinationName) -> None:
    with closing(Store(tmp_path, offset=lambda: 1e9)) as store:
        made = destination(5, name, 2_592_000.0)
        made.forget_at = 100.25
        save(store, batch(made))
    with closing(Store(tmp_path, offset=lambda: 1e9 + 50)) as store:
        ((found,), messages) = store.load()
    assert (found.name, found.number, found.ttl, messages) == (name, 5, 2_592_000.0, [])
    assert found.forget_at == pytest.approx(50.25)


def test_messages_come_back_in_their_order_whatever_the_order_of_their_writing(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(), puts={5: b"e", 2: b"b"}), batch(puts={4: b"d", 1: b"a"}))
    assert contents(tmp_path) == [(1, 0, b"a"), (2, 0, b"b"), (4, 0, b"d"), (5, 0, b"e")]


def test_what_is_removed_is_gone_and_counts_are_the_last_ones(tmp_path: Path) -> None:
    change = batch(puts={3: b"c"})
    change.removed, change.counts = {1, 99}, {2: 8, 98: 1}
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(), puts={1: b"a", 2: b"b"}), change)
    assert contents(tmp_path) == [(2, 8, b"b"), (3, 0, b"c")]


def test_a_destination_is_replaced_and_forgotten(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(1, ttl=10.0), destination(2, DestinationName("b", share="s"))))
        save(store, batch(destination(1, ttl=20.0), destination(2, DestinationName("b", share="s"), ttl=0.0)))
        assert [(found.number, found.ttl) for found in store.load()[0]] == [(1, 20.0)]


def test_what_was_not_committed_is_not_there(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, batch(destination(), puts={1: b"a"}))
    store.write(batch(puts={2: b"b"}))
    store.close()
    assert contents(tmp_path) == [(1, 0, b"a")]


def test_a_store_may_be_closed_twice_and_leaves_no_log(tmp_path: Path) -> None:
    store = Store(tmp_path)
    save(store, batch(destination(), puts={1: b"a"}))
    store.close()
    store.close()
    assert {path.name for path in tmp_path.iterdir()} == {FILE, COMMITS}


def test_what_a_crash_left_is_taken_up(tmp_path: Path) -> None:
    left = crash(tmp_path)
    assert {path.name for path in left.iterdir()} == {FILE, f"{FILE}-wal"}
    assert contents(left) == [(1, 0, b"a"), (2000, 0, b"in the log")]
    assert {path.name for path in left.iterdir()} == {FILE, COMMITS}


def test_a_small_store_is_open_in_no_time(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(), puts={n: b"x" * 150 for n in range(1, 10_000)}))
    start = time.process_time()  # whatever else the machine does
    assert len(contents(tmp_path)) == 9999
    assert time.process_time() - start < 1.0


# What is promised to the disk


def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        settings = [store._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 3]


def test_a_store_that_is_full_takes_nothing_of_a_batch_and_works_again_when_there_is_room(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(), puts={1: b"a"}))
        store._db.execute("PRAGMA max_page_count = 8")
        with pytest.raises(WriteError, match=r"the store .*messages.sqlite fails: database or disk is full"):
            save(store, batch(destination(2), puts={2: b"b", 3: b"x" * 50_000}))
        save(store, batch(puts={4: b"d"}))
        store._db.execute("PRAGMA max_page_count = 1000")
        save(store, batch(puts={5: b"x" * 50_000}))
    assert [sequence for sequence, _, _ in contents(tmp_path)] == [1, 4, 5]


def test_an_empty_batch_tries_whether_anything_can_be_written(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination()))
        before = store._db.total_changes, (tmp_path / f"{FILE}-wal").stat().st_size
        save(store, Batch())
        assert (tmp_path / f"{FILE}-wal").stat().st_size > before[1]


# What is not taken for a store


def refused(folder: Path, words: str, **options: object) -> None:
    """The store is refused with these words, and what is in its folder is what was there before."""
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(StoreError, match=words) as caught:
        Store(folder, **options)  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in folder.iterdir() if not path.name.endswith("-shm")} == before
    assert FILE in str(caught.value) and "\n" not in str(caught.value)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    """The folder of a store with a thousand messages."""
    with closing(Store(tmp_path)) as store:
        save(store, batch(destination(), puts={n: b"x" * 500 for n in range(1, 1001)}))
    return tmp_path


@pytest.mark.parametrize("text", [b"not a database, but long enough to be one" * 100, b"short", b"\0" * 4096])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    refused(tmp_path, "is damaged: file is not a database; it was not changed")


def test_a_file_that_was_cut_off_is_refused(filled: Path) -> None:
    whole = (filled / FILE).read_bytes()
    (filled / FILE).write_bytes(whole[: len(whole) // 2])
    refused(filled, "is damaged: .*; it was not changed")


def test_a_file_with_garbage_in_it_is_refused(filled: Path) -> None:
    whole = bytearray((filled / FILE).read_bytes())
    whole[4096 * 5 : 4096 * 6] = b"\xaa" * 4096
    (filled / FILE).write_bytes(whole)
    refused(filled, "is damaged: .*; it was not changed")


def test_a_damaged_file_with_a_log_is_refused(filled: Path) -> None:
    left = crash(filled)
    whole = bytearray((left / FILE).read_bytes())
    whole[4096 * 5 : 4096 * 6] = b"\xaa" * 4096
    (left / FILE).write_bytes(whole)
    refused(left, "is damaged: .*; it was not changed")


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    sql(tmp_path, "CREATE TABLE precious (thing TEXT)", "INSERT INTO precious VALUES ('mine')")
    refused(tmp_path, "is a database of another program")
    sql(tmp_path, "PRAGMA application_id = 12345")
    refused(tmp_path, "is a database of another program")


def test_a_newer_store_is_refused(filled: Path) -> None:
    sql(filled, f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    refused(filled, rf"has schema version {len(MIGRATIONS) + 1} and this program knows {len(MIGRATIONS)}")


def test_a_folder_that_cannot_be_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be used: .*; choose another folder"):
        Store(tmp_path / "file")


def test_a_store_belongs_to_one_at_a_time(tmp_path: Path) -> None:
    with closing(Store(tmp_path)):
        with pytest.raises(StoreError, match="is in use by another server; choose another folder"):
            Store(tmp_path)
    Store(tmp_path).close()


def test_a_store_that_a_crash_left_on_a_full_disk_opens(tmp_path: Path) -> None:
    """Its messages can be given out, even if there is no room for more."""
    left = crash(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        with closing(Store(left)) as store:
            assert [message.rest for _, message in store.load()[1]] == [b"a", b"in the log"]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_empty_file_is_a_new_store(tmp_path: Path) -> None:
    """A process may be killed after the file was made and before anything was in it."""
    (tmp_path / FILE).write_bytes(b"")
    assert contents(tmp_path) == []


# Versions


def test_a_store_says_what_it_is(filled: Path) -> None:
    assert sql(filled, "PRAGMA application_id") == [(APPLICATION_ID,)]
    assert sql(filled, "PRAGMA user_version") == [(len(MIGRATIONS),)]


def test_a_store_of_an_older_version_is_brought_to_the_present_one(filled: Path) -> None:
    def next_version(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE message ADD COLUMN colour TEXT DEFAULT 'blue'")

    def and_another(db: sqlite3.Connection) -> None:
        db.execute("UPDATE message SET colour = 'red' WHERE sequence = 7")

    Store(filled, migrations=(*MIGRATIONS, next_version, and_another)).close()
    assert sql(filled, "PRAGMA user_version") == [(len(MIGRATIONS) + 2,)]
    assert sql(filled, "SELECT colour, count(*) FROM message GROUP BY colour") == [("blue", 999), ("red", 1)]
    refused(filled, "has schema version")


def test_a_migration_that_fails_leaves_the_store_as_it_was(filled: Path) -> None:
    def next_version(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM message")

    def fails(db: sqlite3.Connection) -> None:
        db.execute("ALTER TABLE nowhere ADD COLUMN colour")

    with pytest.raises(StoreError, match="no such table: nowhere"):
        Store(filled, migrations=(*MIGRATIONS, next_version, fails))
    assert len(contents(filled)) == 1000
    assert sql(filled, "PRAGMA user_version") == [(len(MIGRATIONS),)]
