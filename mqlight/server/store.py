"""What outlives the server: destinations with a time to live and the messages in them, in one SQLite file.

The rules of this file:

* A batch is one transaction. What :meth:`Store.commit` has returned for is on the disk (WAL, synchronous).
* One process has the file; a second one is refused by SQLite's own lock, which ends with its process.
* A file that is not ours, is damaged or is newer than this program is refused before anything is written to it.
* Damage is noticed by SQLite's own check of the structure, a checksum in each row, the numbers of rows and of
  transactions, and the file ``messages.commits``, which says how many transactions the server has heard to be safe.
* Only the owner may read the files, and enter the folder if this program made it.
* Times are seconds since 1970 in the file, and on the broker's clock outside: that clock means nothing to the next run.
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

from mqlight.server.broker import MOST_COUNT, Destination, Kept, Name, Owner
from mqlight.server.ledger import Batch, Put
from mqlight.server.wal import transactions_behind_damage
from mqlight.wire.message import Admitted

log = logging.getLogger(__name__)

FILE = "messages.sqlite"
COMMITS = "messages.commits"
"""The number of transactions that were safe when it was written: after each of them, and without waiting for the disk.
So it is exact after the end of a process, and may be too small after a power cut."""
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
    """The checksum of a row. A message's column has it plus the delivery count, which is all that changes in a row."""
    *small, last = values
    if isinstance(last, bytes):
        return zlib.crc32(last, zlib.crc32(repr(small).encode()))
    return zlib.crc32(repr(values).encode("utf-8", "surrogatepass"))


MIGRATIONS: Sequence[Migration] = (_version_1, _version_2)
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
        self._folder = folder
        self._commits = 0
        self._commits_file: int | None = None
        self.path = ":memory:" if folder is None else str(folder / FILE)
        try:
            if folder is not None:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._look_at_what_a_crash_left(folder, len(migrations))
                with suppress(FileExistsError):  # to open and close it would give up SQLite's locks of this process
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
        """A connection that may write would put the log into the file when it is closed, damaged or not.

        Beside a journal the file is a new one that was not made to its end, which takes a connection that may write.
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
            # else the disk has no room for the index that this takes; the other connection takes none
        finally:
            Path(f"{self.path}-shm").unlink(missing_ok=True)  # made for that, and of no use to a connection of ours
        behind = transactions_behind_damage(wal)
        if behind > 1 or behind and self._safe_commits() is None:
            raise self._damaged(f"{behind} of the transactions in {wal.name} are behind a damaged one")

    def _open(self, migrations: Sequence[Migration]) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA synchronous = EXTRA")  # as FULL, and a new file's journal does not come back with the power
        version = self._check(db, len(migrations))
        self._close_to_others()
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA cache_spill = OFF")  # statements touch memory alone: only the commit waits for the disk
        db.execute("BEGIN EXCLUSIVE")
        if version < len(migrations):  # else nothing is written: the disk may be full
            for migrate in migrations[version:]:
                migrate(db)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {len(migrations)}")
        self._commits = self._state(db)[0]
        db.execute("COMMIT")
        if self._folder is not None:
            try:
                self._commits_file = os.open(self._folder / COMMITS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:  # there is no room for one more file
                log.warning("the store %s cannot count its transactions: %s", self.path, error.strerror)
            self._note_commits()

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
        if not version and tables:
            raise self._damaged("its schema version is 0")
        safe = self._safe_commits()
        commits = self._state(db)[0] if version > 1 else 0
        if safe is not None and commits < safe:
            raise StoreError(
                f"the store {self.path} is damaged: it has {commits} of at least {safe} transactions;"
                f" it is left as it is: put it away, or delete the file {COMMITS} beside it to go on without the others"
            )
        return int(version)

    def _state(self, db: sqlite3.Connection) -> tuple[int, int, int]:
        """How many transactions there were, and how many destinations and messages there have to be."""
        rows = db.execute("SELECT commits, destinations, messages FROM state").fetchall()
        if len(rows) != 1 or any(type(value) is not int for value in rows[0]):
            raise self._damaged("the numbers of its rows are lost")
        commits, destinations, messages = rows[0]
        return commits, destinations, messages

    def _safe_commits(self) -> int | None:
        """How many transactions are known to have been safe; None where that is not known."""
        try:
            return None if self._folder is None else int((self._folder / COMMITS).read_bytes())
        except (OSError, ValueError):
            return None

    def _note_commits(self) -> None:
        if self._commits_file is not None:
            try:
                os.pwrite(self._commits_file, b"%020d\n" % self._commits, 0)
            except OSError:
                pass  # the number there is too small then, which is allowed

    def _close_to_others(self) -> None:
        """Let only the owner read the files. A folder in which others keep files too is left as it is."""
        folder = self._folder
        if folder is None:
            return
        for path in folder.glob("messages.*"):
            _close_one(path, 0o600)
        ours = all(path.name.startswith("messages.") for path in folder.iterdir())
        if ours and not folder.stat().st_mode & stat.S_ISVTX:
            _close_one(folder, 0o700)
        elif folder.stat().st_mode & 0o077:
            log.warning("others may enter the folder %s of the store, which has other files too; chmod 700 it", folder)

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
        for *row, crc in self._db.execute(
            "SELECT number, pattern, share, client_id, ttl, forget_at, owner, owner_client, link, crc"
            " FROM destination ORDER BY number"
        ):
            number, pattern, share, client_id, ttl, forget_at, owner, owner_client, link = row
            if crc != _crc(*row):
                raise self._damaged(f"the destination {number} is not as it was written")
            destination = Destination(Name(pattern, share, client_id, link), number, Owner(owner, owner_client))
            destination.ttl = ttl
            destination.forget_at = None if forget_at is None else forget_at - offset
            destinations.append(destination)
        for count, *row, crc in self._db.execute(
            "SELECT count, sequence, destination, expires, durable, priority, rest, crc FROM message ORDER BY sequence"
        ):
            sequence, number, expires, durable, priority, rest = row
            if type(count) is not int or not 0 <= count <= MOST_COUNT or crc != _crc(*row) + count:
                raise self._damaged(f"the message {sequence} is not as it was written")
            admitted = Admitted("", None, bool(durable), count, priority, rest)
            messages.append((number, Kept(admitted, None if expires is None else expires - offset, sequence)))
        _, there, waiting = self._state(self._db)
        if (len(destinations), len(messages)) != (there, waiting):
            raise self._damaged(
                f"it has {len(destinations)} of {there} destinations and {len(messages)} of {waiting} messages"
            )
        return destinations, messages

    def write(self, batch: Batch) -> None:
        """Begin a transaction with a batch, which :meth:`commit` ends. Raises WriteError, and then there is none.

        An empty batch is a trial of whether anything can be written: the number of transactions is.
        """
        offset = self._offset()
        puts = batch.puts.values()
        counts = [(count, sequence) for sequence, count in batch.counts.items()]
        kept = [destination for destination in batch.destinations if destination.ttl]
        forgotten = [(destination.number,) for destination in batch.destinations if not destination.ttl]
        try:
            self._db.execute("BEGIN")
            run = self._db.executemany
            run("DELETE FROM destination WHERE number = ?", forgotten)
            done = [(sequence,) for sequence in batch.removed]
            removed = run("DELETE FROM message WHERE sequence = ?", done).rowcount
            run("UPDATE message SET crc = crc + ?1 - count, count = ?1 WHERE sequence = ?2", counts)
            rows = [_destination_row(destination, offset) for destination in kept]
            run("REPLACE INTO destination VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            run("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [_message_row(put, offset) for put in puts])
            added = len(puts) - max(removed, 0)  # -1 is none
            self._db.execute("UPDATE state SET commits = ?, messages = messages + ?", (self._commits + 1, added))
            if batch.destinations:
                self._db.execute("UPDATE state SET destinations = (SELECT count(*) FROM destination)")
        except sqlite3.Error as error:
            raise self._undone(error) from error

    def commit(self) -> None:
        """Wait until the disk has the transaction; any thread may. Raises WriteError, and then there is none."""
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
            # What the log holds already needs no room again: with that, deletions go on where the disk is full.
            self._db.execute("PRAGMA wal_checkpoint")
        except sqlite3.Error:
            pass
        return WriteError(f"the store {self.path} fails: {error}")

    def close(self) -> None:
        """Let go of the file. What was written and not committed is gone. May be called twice."""
        self._db.close()
        descriptor, self._commits_file = self._commits_file, None
        if descriptor is not None:
            os.close(descriptor)


def _close_one(path: Path, mode: int) -> None:
    if path.stat().st_mode & 0o077:
        try:
            path.chmod(mode)
        except OSError as error:
            log.warning("%s is open to others and stays so: %s; chmod %o it", path, error.strerror, mode)
        else:
            log.info("%s was open to others; it is of mode %o now", path, mode)


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
