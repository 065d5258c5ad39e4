"""The store of all that outlives the server: lasting destinations and their messages, in one SQLite file.

The rules of this file:

* A batch is one transaction. When :meth:`Store.commit` has returned, the transaction is on the disk (WAL, synchronous).
* Only one process has the file. SQLite's own lock refuses a second one, and ends with its process.
* A file of another program, a damaged file or a newer one is refused before anything is written to it.
* Damage is noticed by SQLite's check of the structure, a checksum in each row, the numbers of rows and of transactions,
  and the file ``messages.commits``. That file holds the number of transactions that are known to be safe.
* Only the owner may read the files. Only the owner may enter the folder, if this program made it.
* Times are seconds since 1970 in the file, and on the broker's clock outside, which means nothing to the next run.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from urllib.parse import quote

from mqlight.server.destination import Destination, DestinationName, Owner
from mqlight.server.journal import Batch, Put
from mqlight.server.publication import Publication
from mqlight.server.queued import MOST_COUNT, Stored
from mqlight.server.write_ahead_log import transactions_behind_damage

log = logging.getLogger(__name__)

FILE = "messages.sqlite"
COMMITS = "messages.commits"
"""The file with the number of safe transactions. It is written after each transaction, without a wait for the disk.
So the number is exact after the end of a process, and may be too small after a power cut."""
APPLICATION_ID = 0x4D51_4C54  # "MQLT"

Migration = Callable[[sqlite3.Connection], None]


class StoreError(Exception):
    """The store is unusable. The text names the file and tells how to go on."""


class WriteError(Exception):
    """A batch was not written, nor any part of it. A later attempt may succeed."""


def _version_1(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TABLE destination (number INTEGER PRIMARY KEY, pattern TEXT NOT NULL, share TEXT, client_id TEXT,"
        " ttl REAL NOT NULL, forget_at REAL)"
    )
    connection.execute(
        "CREATE TABLE message (sequence INTEGER PRIMARY KEY, destination INTEGER NOT NULL, expires REAL,"
        " count INTEGER NOT NULL, durable INTEGER NOT NULL, priority INTEGER NOT NULL, rest BLOB NOT NULL)"
    )


def _version_2(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE destination ADD COLUMN owner TEXT")
    connection.execute("ALTER TABLE destination ADD COLUMN owner_client TEXT NOT NULL DEFAULT ''")
    connection.execute("UPDATE destination SET owner_client = ifnull(client_id, '')")
    connection.execute("ALTER TABLE destination ADD COLUMN link TEXT")
    for table in ("destination", "message"):
        connection.execute(f"ALTER TABLE {table} ADD COLUMN crc INTEGER")
    connection.execute(
        "CREATE TABLE state (commits INTEGER NOT NULL, destinations INTEGER NOT NULL, messages INTEGER NOT NULL)"
    )
    connection.execute("INSERT INTO state SELECT 0, (SELECT count(*) FROM destination), (SELECT count(*) FROM message)")
    connection.create_function("crc", -1, _crc, deterministic=True)
    connection.execute(
        "UPDATE destination SET crc = crc(number, pattern, share, client_id, ttl, forget_at, owner, owner_client, link)"
    )
    connection.execute("UPDATE message SET crc = count + crc(sequence, destination, expires, durable, priority, rest)")


def _crc(*values: object) -> int:
    """Return the checksum of a row. A message's column holds it plus the delivery count, which alone may change."""
    *small, last = values
    if isinstance(last, bytes):
        return zlib.crc32(last, zlib.crc32(repr(small).encode()))
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


MIGRATIONS: Sequence[Migration] = (_version_1, _version_2)
"""Each migration brings a file from the schema version that equals its index to the next one. Version 0 is empty."""


class Store:
    """The file ``messages.sqlite`` in ``folder``; without a folder a database in memory.

    Args:
        folder: The folder, which is made if it is missing.
        migrations: The steps to the newest schema version.
        offset: Returns the seconds to add to the broker's time to get the seconds since 1970.

    Raises:
        StoreError: The store is unusable.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        migrations: Sequence[Migration] = MIGRATIONS,
        offset: Callable[[], float] = lambda: time.time() - time.monotonic(),
    ) -> None:
        self._offset = offset
        self._folder = folder
        self._commits = 0
        self._commits_file: int | None = None
        self.path = ":memory:" if folder is None else str(folder / FILE)
        try:
            if folder is not None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._look_at_what_a_crash_left(folder, len(migrations))
                with suppress(FileExistsError):  # a file that exists stays shut: closing it would drop SQLite's locks
                    os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            self._db = sqlite3.connect(self.path, timeout=0, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise self._unusable(error) from error
        try:
            self._open(migrations)
        except (OSError, sqlite3.Error) as error:
            self.close()
            raise self._unusable(error) from error
        except StoreError:
            self.close()
            raise

    def _look_at_what_a_crash_left(self, folder: Path, known: int) -> None:
        """Check the log that a crash left, over a read-only connection.

        A connection that may write would merge the log into the file when it closes, even a damaged log. If there is
        a rollback journal, the file is new and incomplete, and only a connection that may write can open it.
        """
        wal = folder / f"{FILE}-wal"
        if not _size(wal) or os.path.exists(f"{self.path}-journal"):
            return
        if not _size(folder / FILE):
            raise self._damaged(f"the file is empty or not there, and its log {wal.name} is not empty")
        try:
            with closing(sqlite3.connect(f"file:{quote(self.path)}?mode=ro", timeout=0, uri=True)) as db:
                self._check(db, known)
        except sqlite3.OperationalError as error:
            if "locked" in str(error):
                raise
            # else the disk has no room for the index of this connection; the next connection needs none
        finally:
            Path(f"{self.path}-shm").unlink(missing_ok=True)  # the index of this check, which no later connection uses
        behind = transactions_behind_damage(wal)
        if behind > 1 or behind and self._safe_commits() is None:
            raise self._damaged(f"{behind} of the transactions in {wal.name} follow a damaged one")

    def _open(self, migrations: Sequence[Migration]) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = EXTRA")  # as FULL, and a power cut cannot bring a new file's journal back
        version = self._check(db, len(migrations))
        self._close_to_others()
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA cache_spill = OFF")  # statements use memory alone: only the commit waits for the disk
        db.execute("BEGIN EXCLUSIVE")
        if version < len(migrations):  # otherwise write nothing, because the disk may be full
            for migrate in migrations[version:]:
                migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(migrations)}")
        self._commits = self._state(db)[0]
        db.execute("COMMIT")
        if self._folder is not None:
            try:
                self._commits_file = os.open(self._folder / COMMITS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:  # the disk has no room for another file
                log.warning("the store %s cannot count its transactions: %s", self.path, error.strerror)
            self._note_commits()

    def _check(self, db: sqlite3.Connection, known: int) -> int:
        """Return the schema version of a usable file; 0 is a new file.

        Raises:
            StoreError: The file is damaged, is newer than this program or belongs to another program.
        """
        (application_id,) = db.execute("PRAGMA application_id").fetchone()
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if application_id != APPLICATION_ID and (application_id or version or tables):
            raise StoreError(f"{self.path} is a database of another program; choose another folder")
        if version > known:
            raise StoreError(
                f"the store {self.path} has schema version {version} and this program knows {known}:"
                " use the newer program that made it, or another folder"
            )
        (damage,) = db.execute("PRAGMA quick_check(1)").fetchone()
        if damage != "ok":
            raise self._damaged(damage.splitlines()[-1])
        if not version and tables:
            raise self._damaged("its schema version is 0")
        safe = self._safe_commits()
        commits = self._state(db)[0] if version > 1 else 0
        if safe is not None and commits < safe:
            raise StoreError(
                f"the store {self.path} is damaged: it has {commits} of at least {safe} transactions;"
                f" it was not changed; move it away, or delete the file {COMMITS} beside it to do without the others"
            )
        return int(version)

    def _state(self, db: sqlite3.Connection) -> tuple[int, int, int]:
        """Return the recorded numbers of transactions, destinations and messages."""
        rows = db.execute("SELECT commits, destinations, messages FROM state").fetchall()
        if len(rows) != 1 or any(type(value) is not int for value in rows[0]):
            raise self._damaged("the numbers of its rows are lost")
        commits, destinations, messages = rows[0]
        return commits, destinations, messages

    def _safe_commits(self) -> int | None:
        """Return the number of transactions that are known to be safe. None if the file is missing or empty."""
        try:
            noted = b"" if self._folder is None else (self._folder / COMMITS).read_bytes().strip(b"\0\n")
        except OSError:
            return None
        if noted and not noted.isdigit():
            raise self._damaged(f"{COMMITS} holds no number")
        return int(noted) if noted else None

    def _note_commits(self) -> None:
        if self._commits_file is not None:
            try:
                os.pwrite(self._commits_file, b"%020d\n" % self._commits, 0)
            except OSError:
                pass  # the number in the file is then too small, which is allowed

    def _close_to_others(self) -> None:
        """Let only the owner read the files. Leave a folder as it is if it has files of other programs."""
        folder = self._folder
        if folder is None:
            return
        for path in folder.glob("messages.*"):
            _close_one(path, 0o600)
        ours = all(path.name.startswith("messages.") for path in folder.iterdir())
        if ours and not folder.stat().st_mode & stat.S_ISVTX:
            _close_one(folder, 0o700)
        elif folder.stat().st_mode & 0o077:
            log.warning("other users can enter the folder %s of the store; run chmod 700 on it", folder)

    def _unusable(self, error: OSError | sqlite3.Error) -> StoreError:
        if "locked" in str(error):
            return StoreError(f"the store {self.path} is in use by another server; choose another folder")
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
            return self._damaged(error)
        return StoreError(f"the store {self.path} cannot be used: {error}; choose another folder")

    def _damaged(self, what: object) -> StoreError:
        return StoreError(
            f"the store {self.path} is damaged: {what}; it was not changed; move it away, or choose another folder"
        )

    def load(self) -> tuple[list[Destination], list[tuple[int, Stored]]]:
        """Return the destinations and messages at the last commit, for :meth:`Broker.restore`.

        Raises:
            StoreError: The store is damaged.
        """
        try:
            return self._load(self._offset())
        except sqlite3.DatabaseError as error:
            raise self._damaged(error) from error

    def _load(self, offset: float) -> tuple[list[Destination], list[tuple[int, Stored]]]:
        destinations, messages = [], []
        for *row, crc in self._db.execute(
            "SELECT number, pattern, share, client_id, ttl, forget_at, owner, owner_client, link, crc"
            " FROM destination ORDER BY number"
        ):
            number, pattern, share, client_id, ttl, forget_at, owner, owner_client, link = row
            if crc != _crc(*row):
                raise self._damaged(f"the destination {number} has a wrong checksum")
            destination = Destination(
                DestinationName(pattern, share, client_id, link), number, Owner(owner, owner_client)
            )
            destination.ttl = ttl
            destination.forget_at = None if forget_at is None else forget_at - offset
            destinations.append(destination)
        for count, *row, crc in self._db.execute(
            "SELECT count, sequence, destination, expires, durable, priority, rest, crc FROM message ORDER BY sequence"
        ):
            sequence, number, expires, durable, priority, rest = row
            if type(count) is not int or not 0 <= count <= MOST_COUNT or crc != _crc(*row) + count:
                raise self._damaged(f"the message {sequence} has a wrong checksum")
            publication = Publication("", None, bool(durable), count, priority, rest)
            messages.append((number, Stored.of(publication, None if expires is None else expires - offset, sequence)))
        _, there, waiting = self._state(self._db)
        if (len(destinations), len(messages)) != (there, waiting):
            raise self._damaged(
                f"it has {len(destinations)} of {there} destinations and {len(messages)} of {waiting} messages"
            )
        return destinations, messages

    def write(self, batch: Batch) -> None:
        """Write a batch in a new transaction, which :meth:`commit` ends.

        An empty batch tests whether the store works, because it writes the number of transactions.

        Raises:
            WriteError: The batch was not written, and the transaction is rolled back.
        """
        offset = self._offset()
        puts = batch.puts.values()
        counts = [(count, count, sequence) for sequence, count in batch.counts.items()]
        kept = [destination for destination in batch.destinations if destination.ttl]
        forgotten = [(destination.number,) for destination in batch.destinations if not destination.ttl]
        try:
            self._db.execute("BEGIN")
            run = self._db.executemany
            run("DELETE FROM destination WHERE number = ?", forgotten)
            done = [(sequence,) for sequence in batch.removed]
            removed = run("DELETE FROM message WHERE sequence = ?", done).rowcount
            run("UPDATE message SET crc = crc + ? - count, count = ? WHERE sequence = ?", counts)
            rows = [_destination_row(destination, offset) for destination in kept]
            run("REPLACE INTO destination VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            run("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_message_row(put, offset) for put in puts])
            added = len(puts) - max(removed, 0)  # SQLite reports -1 if there was nothing to remove
            self._db.execute("UPDATE state SET commits = ?, messages = messages + ?", (self._commits + 1, added))
            if batch.destinations:
                self._db.execute("UPDATE state SET destinations = (SELECT count(*) FROM destination)")
        except sqlite3.Error as error:
            raise self._undone(error) from error

    def commit(self) -> None:
        """Wait until the transaction is on the disk. May be called on any thread.

        Raises:
            WriteError: The transaction was not committed, and is rolled back.
        """
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise self._undone(error) from error
        self._commits += 1
        self._note_commits()

    def _undone(self, error: sqlite3.Error) -> WriteError:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            # The checkpoint frees the room of the log, so that deletions still work on a full disk.
            self._db.execute("PRAGMA wal_checkpoint")
        except sqlite3.Error:
            pass
        return WriteError(f"the store {self.path} fails: {error}")

    def close(self) -> None:
        """Close the file. A batch that was not committed is lost. May be called twice."""
        self._db.close()
        descriptor, self._commits_file = self._commits_file, None
        if descriptor is not None:
            os.close(descriptor)


def _close_one(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o077:
        try:
            path.chmod(mode)
        except OSError as error:
            log.warning("other users can read %s; run chmod %o on it, which failed: %s", path, mode, error.strerror)
        else:
            log.info("other users could read %s; its mode is %o now", path, mode)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _destination_row(destination: Destination, offset: float) -> tuple[object, ...]:
    name, forget_at = destination.name, destination.forget_at
    end = None if forget_at is None else forget_at + offset
    row = (
        destination.number, name.pattern, name.share, name.client_id, float(destination.ttl), end, *destination.owner,
        name.link,
    )  # fmt: skip
    return *row, _crc(*row)


def _message_row(put: Put, offset: float) -> tuple[object, ...]:
    number, message = put.destination.number, put.message
    expires = None if message.expires is None else message.expires + offset
    row = message.sequence, number, expires, int(message.durable), message.priority, message.rest
    return *row[:3], message.count, *row[3:], _crc(*row) + message.count
