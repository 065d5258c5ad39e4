"""The applications of a server."""

from __future__ import annotations

import subprocess
import sys

import pytest
from werkzeug.test import Client

import macaque
from macaque.http.mountable import Mountable


def test_there_is_one_application_for_each_server() -> None:
    app, other = macaque.Server(), macaque.Server()
    assert app.wsgi is app.wsgi
    assert app.wsgi is not other.wsgi


def test_a_twin_has_the_services_and_hooks_and_a_state_of_its_own() -> None:
    app = macaque.Server()
    app.service("echo")(lambda data: data)
    app.wsgi  # noqa: B018
    twin = app._twin(None, "twin")
    assert isinstance(twin, Mountable)
    assert (twin.client_id, twin._registry, twin._hooks) == ("twin", app._registry, app._hooks)
    assert twin._workers is not app._workers
    assert twin._mount is None and app._mount is not None


def test_a_program_that_serves_no_http_does_not_import_it() -> None:
    program = "import sys, macaque; print([name for name in sys.modules if name.startswith('macaque.http.')])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "['macaque.http.mountable']"


def test_the_limits_are_settings_of_the_server() -> None:
    app = macaque.Server()
    app.config.from_mapping(HTTP_MAX_BODY=3, HTTP_TIMEOUT="long")
    for name in "wsgi", "asgi":
        with pytest.raises(TypeError, match="HTTP_TIMEOUT"):
            getattr(app, name)
    app.config["HTTP_TIMEOUT"] = 5
    assert Client(app.wsgi).post("/a", json=1000).status_code == 404
    app.service("a")(lambda data: data)
    assert Client(app.wsgi).post("/a", json=1000).status_code == 413
    app.close()
