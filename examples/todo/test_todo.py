import pytest

import macaque
import macaque.testing
from todo import app


@pytest.fixture
def client(tmp_path, monkeypatch):
    monkeypatch.setenv("TODO_DB", str(tmp_path / "todo.db"))
    with macaque.testing.client(app, app) as client:  # two workers
        yield client


def call(client, topic, data=None):
    return client.call(topic, data).result()


def refused(client, topic, data):
    with pytest.raises(macaque.RemoteError) as caught:
        call(client, topic, data)
    return caught.value


def test_a_task_is_created_read_updated_and_deleted(client):
    task = call(client, "todo/create", {"title": "Buy groceries", "description": "Milk, Cheese"})
    assert task == {"id": 1, "title": "Buy groceries", "description": "Milk, Cheese", "done": False}
    assert call(client, "todo/update", {"id": 1, "done": True}) == {**task, "done": True}
    assert call(client, "todo/update", {"id": 1, "title": "Buy food"}) == {**task, "title": "Buy food", "done": True}
    assert call(client, "todo/read", {"id": 1}) == {**task, "title": "Buy food", "done": True}
    call(client, "todo/delete", {"id": 1})
    assert call(client, "todo/list") == []


def test_a_list_has_pages(client):
    for number in range(5):
        call(client, "todo/create", {"title": f"Task {number}"})
    assert [task["id"] for task in call(client, "todo/list")] == [1, 2, 3, 4, 5]
    assert [task["id"] for task in call(client, "todo/list", {"after": 2, "limit": 2})] == [3, 4]


def test_the_number_of_a_deleted_task_is_not_used_again(client):
    call(client, "todo/delete", {"id": call(client, "todo/create", {"title": "Buy groceries"})["id"]})
    assert call(client, "todo/create", {"title": "Learn Python"})["id"] == 2


def test_a_repeated_call_creates_one_task(client):
    first = client.call("todo/create", {"title": "Buy groceries"})
    task = first.result()
    for _ in range(4):  # the workers take turns
        assert client.call("todo/create", {"title": "Buy groceries"}, uuid=first.uuid).result() == task
    assert call(client, "todo/list") == [task]


@pytest.mark.parametrize("topic", ["todo/read", "todo/update", "todo/delete"])
def test_a_task_that_does_not_exist(client, topic):
    error = refused(client, topic, {"id": 7})
    assert (error.code, error.message) == (404, "there is no task 7")


@pytest.mark.parametrize(
    "topic, data",
    [
        ("todo/create", {}),
        ("todo/create", {"title": ""}),
        ("todo/create", {"title": "x" * 201}),
        ("todo/create", {"title": "x", "description": "x" * 2001}),
        ("todo/create", "Buy groceries"),
        ("todo/update", {"id": 1, "title": ""}),
        ("todo/update", {"id": 1, "done": "yes"}),
        ("todo/update", {"done": True}),
        ("todo/read", {"id": 0}),
        ("todo/read", {"id": 2**63}),
        ("todo/read", {"id": "first"}),
        ("todo/list", {"limit": 101}),
        ("todo/list", {"after": -1}),
    ],
)
def test_data_that_cannot_be(client, topic, data):
    task = call(client, "todo/create", {"title": "Learn Python"})
    assert refused(client, topic, data).code == 400
    assert call(client, "todo/list") == [task]


def test_every_change_is_told(client):
    with client.stream("todo/changes", None) as summaries:
        assert next(summaries) == {"tasks": 0, "done": 0}
        call(client, "todo/create", {"title": "Buy groceries"})
        assert next(summaries) == {"tasks": 1, "done": 0}
        call(client, "todo/update", {"id": 1, "done": True})
        assert next(summaries) == {"tasks": 1, "done": 1}
