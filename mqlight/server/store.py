"""What outlives the server: destinations with a time to live and the messages in them, in one SQLite file.

The rules of this file:

* A batch is one transaction. What :meth:`Store.commit` has returned for is on the disk (WAL, synchronous).
* One process has the file; a second one is refused by SQLite's own lock, which ends with its process.
* A file that is not ours, is damaged or is newer than this program is refused before anything is written to it.
* Times are seconds since 1970 in the file, and on the broker's clock outside: that clock means nothing to the next run.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from mqlight.server.broker import Destination, Kept, Name
from mqlight.server.ledger import Batch, Put
from mqlight.wire.message import Admitted

FILE = "messages.sqlite"
APPLICATION_ID = 0x4D51_4C54  # "MQLT"

Migration = Callable[[sqlite3.Connection], None]


class StoreError(Exception):
    """The store cannot be used: the sentence names the file, and says what to do."""


class WriteError(Exception):
    """A batch could not be written, and no part of it was; a later one may be."""


def _version_1(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE destination (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL, share TEXT, client_id TEXT,"
        " ttl REAL NOT NULL, forget_at REAL)"
    )
    connection.execute(
        "CREATE TABLE message (sequence INTEGER PRIMARY KEY, destination INTEGER NOT NULL, expires REAL,"
        " count INTEGER NOT NULL, durable INTEGER NOT NULL, priority INTEGER NOT NULL, rest BLOB NOT NULL)"
    )


MIGRATIONS: Sequence[Migration] = (_version_1,)
"""Each brings a file from the schema version that is its place here to the next one; the first begins with nothing."""


class Store:
    """The file ``messages.sqlite`` in ``folder``, which is made if need be; without a folder a database in memory.

    :param offset: what is to be added to the broker's time to get the seconds since 1970.

    Raises StoreError when it cannot be used.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        migrations: Sequence[Migration] = MIGRATIONS,
        offset: Callable[[], float] = lambda: time.time() - time.monotonic(),
    ) -> None:
        self._offset = offset
        self.path = ":memory:" if folder is None else str(folder / FILE)
        try:
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                self._look_at_what_a_crash_left(len(migrations))
            self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._open(migrations)
        except sqlite3.Error as error:
            self._db.close()
            raise self._unusable(error) from error
        except StoreError:
            self._db.close()
            raise

    def _look_at_what_a_crash_left(self, known: int) -> None:
        """A connection that may write would put the log into the file when it is closed, damaged or not.

        Beside a journal the file is a new one that was not made to its end, which takes a connection that may write.
        """
        if os.path.exists(f"{self.path}-wal") and not os.path.exists(f"{self.path}-journal"):
            with closing(sqlite3.connect(f"file:{quote(self.path)}?mode=ro", timeout=0, uri=True)) as db:
                try:
                    self._check(db, known)
                except sqlite3.OperationalError:
                    pass  # the disk has no room for the index that this takes; the other connection takes none
            Path(f"{self.path}-shm").unlink(missing_ok=True)  # made for that, and of no use to a connection of ours

    def _open(self, migrations: Sequence[Migration]) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = EXTRA")  # as FULL, and a new file's journal does not come back with the power
        version = self._check(db, len(migrations))
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA cache_spill = OFF")  # statements touch memory alone: only the commit waits for the disk
        db.execute("BEGIN EXCLUSIVE")
        if version < len(migrations):  # else nothing is written: the disk may be full
            for migrate in migrations[version:]:
                migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(migrations)}")
        db.execute("COMMIT")

    def _check(self, db: sqlite3.Connection, known: int) -> int:
        """The schema version of a file that can be used: 0 is a new one. Raises StoreError for any other."""
        (application_id,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id != APPLICATION_ID and (application_id or version or tables):
            raise StoreError(f"{self.path} is a database of another program: choose another folder")
        if version > known:
            raise StoreError(
                f"the store {self.path} has schema version {version} and this program knows {known}:"
                " use the newer program that made it, or another folder"
            )
        (damage,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise self._damaged(damage.splitlines()[-1])
        return int(version)

    def _unusable(self, error: OSError | sqlite3.Error) -> StoreError:
        if "locked" in str(error):
            return StoreError(f"the store {self.path} is in use by another server: choose another folder")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return self._damaged(error)
        return StoreError(f"the store {self.path} cannot be used: {error}; choose another folder")

    def _damaged(self, what: object) -> StoreError:
        return StoreError(
            f"the store {self.path} is damaged: {what}; it is left as it is: put it away, or choose another folder"
        )

    def load(self) -> tuple[list[Destination], list[tuple[int, Kept]]]:
        """What there was when the last batch was committed, for :meth:`Broker.restore`. Raises StoreError."""
        try:
            return self._load(self._offset())
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _load(self, offset: float) -> tuple[list[Destination], list[tuple[int, Kept]]]:
        destinations, messages = [], []
        for number, pattern, share, client_id, ttl, forget_at in self._db.execute(
            "SELECT number, pattern, share, client_id, ttl, forget_at FROM destination ORDER BY number"
        ):
            destination = Destination(Name(pattern, share, client_id), number)
            destination.ttl = ttl
            destination.forget_at = None if forget_at is None else forget_at - offset
            destinations.append(destination)
        for sequence, number, expires, count, durable, priority, rest in self._db.execute(
            "SELECT sequence, destination, expires, count, durable, priority, rest FROM message ORDER BY sequence"
        ):
            admitted = Admitted("", None, bool(durable), count, priority, rest)
            messages.append((number, Kept(admitted, None if expires is None else expires - offset, sequence)))
        return destinations, messages

    def write(self, batch: Batch) -> None:
        """Begin a transaction with a batch, which :meth:`commit` ends. Raises WriteError, and then there is none.

        An empty batch is a trial of whether anything can be written.
        """
        offset = self._offset()
        puts = batch.puts.values()
        counts = [(count, sequence) for sequence, count in batch.counts.items()]
        kept = [destination for destination in batch.destinations if destination.ttl]
        forgotten = [(destination.number,) for destination in batch.destinations if not destination.ttl]
        try:
            self._db.execute("BEGIN")
            if not batch:  # a trial: something has to be written for it
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            run = self._db.executemany
            run("DELETE FROM destination WHERE number = ?", forgotten)
            run("DELETE FROM message WHERE sequence = ?", [(sequence,) for sequence in batch.removed])
            run("UPDATE message SET count = ? WHERE sequence = ?", counts)
            run("REPLACE INTO destination VALUES (?, ?, ?, ?, ?, ?)", [_destination_row(d, offset) for d in kept])
            run("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", [_message_row(put, offset) for put in puts])
        except sqlite3.Error as error:
            raise self._undone(error) from error

    def commit(self) -> None:
        """Wait until the disk has the transaction; any thread may. Raises WriteError, and then there is none."""
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._undone(error) from error

    def _undone(self, error: sqlite3.Error) -> WriteError:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # What the log holds already needs no room again: with that, deletions go on where the disk is full.
            self._db.execute("PRAGMA wal_checkpoint")
        except sqlite3.Error:
            pass
        return WriteError(f"the store {self.path} fails: {error}")

    def close(self) -> None:
        """Let go of the file. What was written and not committed is gone. May be called twice."""
        self._db.close()


def _destination_row(destination: Destination, offset: float) -> tuple[object, ...]:
    name, forget_at = destination.name, destination.forget_at
    end = None if forget_at is None else forget_at + offset
    return destination.number, name.pattern, name.share, name.client_id, destination.ttl, end


def _message_row(put: Put, offset: float) -> tuple[object, ...]:
    number, message = put.destination.number, put.message
    expires = None if message.expires is None else message.expires + offset
    return message.sequence, number, expires, message.count, message.durable, message.priority, message.rest
