"""A todo list: services that create, read, list, update and delete tasks, and one that tells when they change."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from msgspec import Meta

import macaque

Id = Annotated[int, Meta(ge=1, le=2**53 - 1)]
Title = Annotated[str, Meta(min_length=1, max_length=200)]
Description = Annotated[str, Meta(max_length=2000)]


@dataclass
class Task:
    id: Id
    title: Title
    description: Description = ""
    done: bool = False


@dataclass
class Draft:
    title: Title
    description: Description = ""


@dataclass
class Key:
    id: Id


@dataclass
class Page:
    after: Annotated[int, Meta(ge=0, le=2**53 - 1)] = 0
    limit: Annotated[int, Meta(ge=1, le=100)] = 100


@dataclass
class Change:
    id: Id
    title: Title | None = None
    description: Description | None = None
    done: bool | None = None


@dataclass
class Summary:
    tasks: int
    done: int


COLUMNS = "id, title, description, done"


def database() -> closing[sqlite3.Connection]:
    db = sqlite3.connect(os.environ.get("TODO_DB", "todo.db"), timeout=10, isolation_level=None)
    with suppress(sqlite3.OperationalError):  # another process does it
        db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        "CREATE TABLE IF NOT EXISTS task (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL,"
        " description TEXT NOT NULL, done BOOLEAN NOT NULL DEFAULT FALSE, request TEXT NOT NULL UNIQUE)"
    )
    return closing(db)


def tasks(statement: str, values: dict[str, Any]) -> list[Task]:
    with database() as db:
        rows = db.execute(statement, values).fetchall()
    return [Task(*row[:3], done=bool(row[3])) for row in rows]


def task(statement: str, values: dict[str, Any]) -> Task:
    found = tasks(statement, values)
    if not found:
        macaque.abort(404, f"there is no task {values['id']}")
    return found[0]


app = macaque.Server()


@app.service("todo/create", share_id="todo")
def create(draft: Draft, request: macaque.Request) -> Task:
    # A request may come again: from its caller, or because its worker was killed. It finds its task by its uuid.
    statement = f"""INSERT INTO task (title, description, request) VALUES (:title, :description, :request)
        ON CONFLICT (request) DO UPDATE SET request = request RETURNING {COLUMNS}"""
    return task(statement, {**asdict(draft), "request": request.uuid})


@app.service("todo/read", share_id="todo", safe=True)
def read(key: Key) -> Task:
    return task(f"SELECT {COLUMNS} FROM task WHERE id = :id", asdict(key))


@app.service("todo/list", share_id="todo", safe=True)
def list_tasks(page: Page | None) -> list[Task]:
    return tasks(f"SELECT {COLUMNS} FROM task WHERE id > :after ORDER BY id LIMIT :limit", asdict(page or Page()))


@app.service("todo/update", share_id="todo")
def update(change: Change) -> Task:
    statement = f"""UPDATE task SET title = coalesce(:title, title), done = coalesce(:done, done),
        description = coalesce(:description, description) WHERE id = :id RETURNING {COLUMNS}"""
    return task(statement, asdict(change))


@app.service("todo/delete", share_id="todo")
def delete(key: Key) -> Task:
    return task(f"DELETE FROM task WHERE id = :id RETURNING {COLUMNS}", asdict(key))


@app.service("todo/changes", share_id="todo", safe=True, credit=100)
async def changes(_) -> AsyncIterator[Summary]:
    seen = None
    with database() as db:
        for _ in range(20):  # 4 seconds, because a worker that stops waits for its streams; the caller asks again
            version = db.execute("PRAGMA data_version").fetchone()
            if version != seen:
                seen = version
                yield Summary(*db.execute("SELECT count(*), count(*) FILTER (WHERE done) FROM task").fetchone())
            await asyncio.sleep(0.2)


wsgi = app.wsgi
