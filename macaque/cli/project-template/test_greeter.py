"""The tests of greeter, in memory: they need no server."""

import macaque
import pytest

from greeter import app

GREET = "greeter/greet"


@pytest.fixture
def macaque_app():
    return app


def test_a_person_is_greeted(macaque_client):
    assert macaque_client.call(GREET, {"name": "Ann"}).result() == "Hello, Ann!"


def test_a_person_is_greeted_in_their_language(macaque_client):
    assert macaque_client.call(GREET, {"name": "Ann", "language": "fr"}).result() == "Bonjour, Ann!"


def test_an_unknown_language_is_an_error(macaque_client):
    with pytest.raises(macaque.RemoteError, match="no greeting in the language xx") as caught:
        macaque_client.call(GREET, {"name": "Ann", "language": "xx"}).result()
    assert caught.value.code == 404


def test_data_of_another_type_is_refused(macaque_client):
    with pytest.raises(macaque.RemoteError) as caught:
        macaque_client.call(GREET, {"name": 5}).result()
    assert caught.value.code == 400
