from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml
from openapi_spec_validator import OpenAPIV31SpecValidator

import macaque
from commands import Command
from described import shop
from environments import run
from foreign import INTEROP, packages
from macaque.observe.discovery import TOPIC
from processes import ROOT, Server, wait_until

SERVICES = '''
import macaque
from collections.abc import Iterator
app = macaque.Server()
@app.service("greet", share_id="greeters", timeout=5, safe=True)
def greet(name: str) -> str:
    """Return a greeting with “quotes”."""
    raise AssertionError("it is not called")
@app.service("count/+")
def count(data: int) -> Iterator[int]:
    yield data
wrong = macaque.Server()
@wrong.service("wrong")
def wrong_type(data: "Missing"):
    pass
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("services")
    (folder / "greetings.py").write_text(SERVICES, encoding="utf-8")
    return folder


@pytest.fixture
def running(server: Server) -> Iterator[Server]:
    app = shop()
    app._broker = server.url
    with app, macaque.Client(broker=server.url) as client:
        wait_until(lambda: not isinstance(client.call(TOPIC, None).exception(), macaque.NoResponders))
        yield server


def test_asyncapi_is_printed_as_json(folder: Path) -> None:
    done = Command("docs", "greetings:app", "--broker", "amqp://ann:secret@broker.example", cwd=folder)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert (document["asyncapi"], document["info"]["title"], document["info"]["version"]) == (
        "3.0.0", "greetings", "0.1.0",
    )  # fmt: skip
    assert set(document["operations"]) == {"greet", "count_any", "macaque_control"}
    assert document["operations"]["greet"]["summary"] == "Return a greeting with “quotes”."
    assert document["servers"]["broker"]["host"] == "broker.example" and "secret" not in done.out
    official = packages(INTEROP) / "@asyncapi/specs/schemas/3.0.0.json"
    jsonschema.validate(document, json.loads(official.read_text(encoding="utf-8")), jsonschema.Draft7Validator)


def test_the_module_may_be_named_by_its_file(folder: Path) -> None:
    assert json.loads(Command("docs", "greetings.py", cwd=folder).out)["info"]["title"] == "greetings"


def test_yaml_says_the_same_as_json(folder: Path) -> None:
    for options in [], ["--openapi"]:
        said = Command("docs", "greetings:app", "--format", "yaml", *options, cwd=folder).out
        document = yaml.safe_load(said)
        assert document == json.loads(Command("docs", "greetings:app", *options, cwd=folder).out)
        assert "“quotes”" in said and "&id" not in said


def test_openapi_is_the_http_side(folder: Path) -> None:
    options = ["--openapi", "--title", "Greetings", "--version", "2", "--url", "https://greet.example", "--tokens"]
    document = json.loads(Command("docs", "greetings:app", *options, cwd=folder).out)
    OpenAPIV31SpecValidator(document).validate()
    assert document["info"] | {"description": ""} == {"title": "Greetings", "version": "2", "description": ""}
    assert set(document["paths"]) == {"/greet", "/count/{level2}"}
    assert document["servers"] == [{"url": "https://greet.example"}] and document["security"]


def test_the_page_is_for_amqp_or_for_http(folder: Path) -> None:
    inside = Command("docs", "greetings:app", "--format", "html", cwd=folder).out
    assert inside.startswith("<!DOCTYPE html>") and "macaque call greet" in inside and "curl" not in inside
    both = Command("docs", "greetings:app", "--format", "html", "--url", "https://greet.example", cwd=folder).out
    assert "macaque call greet" in both and "curl" in both and "https://greet.example/greet" in both
    outside = Command("docs", "greetings:app", "--format", "html", "--openapi", cwd=folder).out
    assert "macaque call" not in outside and "http://127.0.0.1:8080/greet" in outside


def test_without_an_app_the_running_services_are_described(running: Server) -> None:
    document = json.loads(Command("docs", "--timeout", "0.5", broker=running.url).out)
    assert document["info"]["title"] == "Services"
    assert set(document["operations"]) == {
        "shop_buy", "shop_find", "shop_prices", "shop_any_echo", "shop_log_all", "macaque_control",
    }  # fmt: skip
    named = json.loads(Command("docs", "--timeout", "0.5", "--broker", running.url).out)
    assert named["servers"]["broker"]["host"] == running.url.removeprefix("amqp://")
    del named["servers"]
    assert named == document


def test_a_file_is_written_completely_or_not_at_all(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "shop.json"
    for _ in range(2):
        assert Command("docs", "greetings:app", "--output", str(file), cwd=folder).out == ""
    assert json.loads(file.read_text(encoding="utf-8"))["info"]["title"] == "greetings"
    assert file.stat().st_mode & 0o777 == 0o666 & ~_umask() and os.listdir(tmp_path) == ["shop.json"]
    file.chmod(0o600)
    Command("docs", "greetings:app", "--openapi", "--output", str(file), cwd=folder)
    assert "openapi" in file.read_text(encoding="utf-8") and file.stat().st_mode & 0o777 == 0o600
    said = Command("docs", "greetings:app", "--output", str(tmp_path / "none/shop.json"), cwd=folder).failed(2)
    assert "none/shop.json cannot be written: No such file or directory" in said
    link = tmp_path / "link.json"
    link.symlink_to(file)
    Command("docs", "greetings:app", "--output", str(link), cwd=folder)
    assert link.is_symlink() and "asyncapi" in file.read_text(encoding="utf-8")
    device = Command("docs", "greetings:app", "--output", "/dev/stdout", cwd=folder)
    assert json.loads(device.out)["asyncapi"] == "3.0.0"


@pytest.mark.parametrize("arguments, said", [
    (["greetings:wrong"], "is annotated with Missing, which is not defined"),
    (["greetings:"], "is not MODULE:APP"),
    (["greetings:none"], "greetings has no none; did you mean greetings:app?"),
    (["greetings:app", "--broker", "amqp://"], "the URL in --broker cannot be used"),
    (["greetings:app", "--broker", "ftp://nowhere"], "the URL in --broker cannot be used"),
    (["greetings:app", "--openapi", "--broker", "ftp://nowhere"], "the URL in --broker cannot be used"),
])  # fmt: skip
def test_a_mistake_is_one_line_and_status_2(folder: Path, arguments: list[str], said: str) -> None:
    assert said in Command("docs", *arguments, cwd=folder).failed(2)


def test_without_a_broker_or_a_server_there_is_no_document(server: Server) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"amqp://127.0.0.1:{taken.getsockname()[1]}"
        assert "No connection to the broker" in Command("docs", broker=url).failed(2)
    assert "no server is registered" in Command("docs", broker=server.url).failed(1)


def test_without_pyyaml_the_command_names_the_package(folder: Path, tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util as util; find = util.find_spec; "
        "util.find_spec = lambda name, *rest: None if name == 'yaml' else find(name, *rest); "
        "sys.argv = ['macaque', 'docs', 'greetings:app', '--format', 'yaml']; "
        "from macaque.cli import main; main()"
    )
    with pytest.raises(AssertionError, match=r"pip install 'macaque-amqp\[yaml\]'"):
        run([sys.executable, "-c", program], folder, PYTHONPATH=str(ROOT))


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
