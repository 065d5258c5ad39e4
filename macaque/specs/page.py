"""Services as one HTML page for people. It needs no other file, no script and no network.

The page is a tree of elements, and the tree is written by the standard library. So no text of a service can become an
element or an attribute.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable
from importlib.resources import files
from xml.etree.ElementTree import Element, tostring

from macaque.observe.info import ServiceInfo
from macaque.specs.calls import in_curl, in_python, in_shell
from macaque.specs.example import example
from macaque.specs.fields import Field, fields, type_name
from macaque.specs.schemas import Schema, unique
from macaque.specs.topics import distinct, identifier, summary

__all__ = ["POLICY", "page"]

STYLE = files(__package__ or "macaque.specs").joinpath("page.css").read_text(encoding="utf-8")
POLICY = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; "
    f"style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
)
"""The Content-Security-Policy of the page: its own style, and nothing else."""

ERRORS = (
    ("The data does not fit. The service did not run.", "400", "RemoteError", "400"),
    ("The service ended the request with a code.", "400 to 599, or a name", "RemoteError", "the code, or 500"),
    ("The service failed.", "500", "RemoteError", "500"),
    ("No service is there.", "", "NoResponders", "503 or 404"),
    ("The service did not reply in time.", "", "Timeout", "504"),
    ("There is no connection to the broker.", "", "ConnectionLost", "503"),
)
"""The meaning of an error, its code, its class in Python, and its status of HTTP."""
ERRORS_ID = "errors"

Content = Element | str | None


def page(
    services: Iterable[ServiceInfo],
    *,
    title: str,
    version: str,
    amqp: bool = True,
    http: str | None = None,
    tokens: bool = False,
    links: Iterable[tuple[str, str]] = (),
) -> str:
    """Return the HTML of the page.

    Args:
        services: the services, in any order. Those that several servers serve may come several times.
        title, version: of the page.
        amqp: whether the reader can reach the broker. Then the page shows calls in Python and with `macaque`.
        http: the URL at which HTTP serves the services. Then the page shows calls with curl.
        tokens: whether a request over HTTP needs a bearer token.
        links: the texts and targets of links at the top of the page.
    """
    found = distinct(services)
    names: list[str] = []
    for each in found:
        names.append(unique(identifier(each.topic), [*names, ERRORS_ID]))
    articles = [
        _article(service, name, _calls(service, amqp, http, tokens)) for service, name in zip(found, names, strict=True)
    ]
    head = _element(
        "head",
        _element("meta", charset="utf-8"),
        _element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        _element("meta", name="color-scheme", content="light dark"),
        _element("meta", http_equiv="Content-Security-Policy", content=POLICY),
        _element("title", title),
        _style(),
    )
    count = "No services" if not found else "1 service" if len(found) == 1 else f"{len(found)} services"
    header = _element(
        "header",
        _element("h1", title),
        _element("p", f"Version {version} · {count}", *_links(links), class_="quiet"),
    )
    main = _element("main", *articles, _errors(amqp, http is not None) if found else None)
    body = _element("body", header, _element("div", _index(found, names) if found else None, main, class_="columns"))
    return "<!DOCTYPE html>\n" + tostring(_element("html", head, body, lang="en"), "unicode", method="html") + "\n"


def _index(services: list[ServiceInfo], names: list[str]) -> Element:
    """Return the list of the services, by the first level of their topics."""
    groups: dict[str, list[Element]] = {}
    for service, name in zip(services, names, strict=True):
        entry = _element("li", _element("a", service.topic, href=f"#{name}"))
        groups.setdefault(service.topic.partition("/")[0], []).append(entry)
    lists = [_element("ul", *entries) for entries in groups.values()]
    return _element("nav", *lists, aria_label="Services")


def _article(service: ServiceInfo, name: str, calls: list[tuple[str, str]]) -> Element:
    first = summary(service)
    rest = (service.doc or "").strip().partition("\n")[2].strip()
    data = [*_data("Request", service.request)]
    data += _data("Reply: a stream of parts" if service.streams else "Reply", service.reply)
    return _element(
        "article",
        _element("h2", _element("a", _element("code", service.topic), href=f"#{name}")),
        _element("p", first) if first else None,
        _element("p", rest, class_="text") if rest else None,
        _facts(service),
        _element("div", _element("div", *data), _element("div", *map(_call, calls)), class_="halves"),
        id=name,
    )


def _call(call: tuple[str, str]) -> Element:
    heading, text = call
    return _element("section", _element("h3", heading), _code(text) if "\n" in text else _code(text, class_="line"))


def _code(text: str, **attributes: str) -> Element:
    """Return a block of code that can be scrolled, also by keys."""
    return _element("pre", _element("code", text), tabindex="0", **attributes)


def _facts(service: ServiceInfo) -> Element | None:
    told = {
        "Share": service.share,
        "Requests at a time": service.credit,
        "Time limit": None if service.timeout is None else f"{service.timeout:g} s",
        "Changes": "nothing" if service.safe else None,
    }
    shown = [_element("div", _element("dt", name), _element("dd", str(value))) for name, value in told.items() if value]
    return _element("dl", *shown) if shown else None


def _data(heading: str, schema: Schema | None) -> Iterable[Element]:
    """Yield what is told of the data in one direction."""
    if not schema:
        yield _element("section", _element("h3", heading), _element("p", "Any JSON.", class_="quiet"))
        return
    rows = fields(schema)
    kind = _element("span", type_name(schema), class_="quiet")
    section = _element("section", _element("h3", f"{heading} ", kind))
    if len(rows) > 1 or (rows and (rows[0].path or rows[0].about)):
        section.append(_table(("Field", "Type", "Meaning"), [_row(each) for each in rows]))
    data = example(schema)
    if data is not None:
        section.append(_code(json.dumps(data, ensure_ascii=False, indent=2), aria_label="Example"))
    yield section


def _row(field: Field) -> list[Content]:
    name = _element("code", field.path) if field.path else _element("span", "the data", class_="quiet")
    if field.path and not field.required:
        name = _element("span", name, _element("span", " optional", class_="quiet"))
    return [name, field.type, field.about]


def _calls(service: ServiceInfo, amqp: bool, http: str | None, tokens: bool) -> list[tuple[str, str]]:
    """Return the ways to call a service: their headings and texts."""
    found = [("In Python", in_python(service)), ("In a shell", in_shell(service))] if amqp else []
    if http is not None and (line := in_curl(service, http, tokens=tokens)) is not None:
        found.append(("Over HTTP", line))
    return found


def _errors(amqp: bool, http: bool) -> Element:
    """Return the table of the errors that any service may end in."""
    wanted = [0, 1, *([2] if amqp else []), *([3] if http else [])]
    heads = ("Meaning", "Code", "Python", "HTTP")
    rows: list[list[Content]] = [[row[at] for at in wanted] for row in ERRORS]
    return _element(
        "article",
        _element("h2", "Errors"),
        _table([heads[at] for at in wanted], rows),
        id=ERRORS_ID,
    )


def _table(heads: Iterable[str], rows: Iterable[Iterable[Content]]) -> Element:
    head = _element("tr", *(_element("th", each, scope="col") for each in heads))
    body = [_element("tr", *(_element("td", each) for each in row)) for row in rows]
    table = _element("table", _element("thead", head), _element("tbody", *body))
    return _element("div", table, class_="scroll", tabindex="0")


def _links(links: Iterable[tuple[str, str]]) -> Iterable[Content]:
    for text, target in links:
        yield " · "
        yield _element("a", text, href=target)


def _style() -> Element:
    """Return the style. It is the only text that is written as it stands."""
    style = Element("style")
    style.text = STYLE
    return style


def _element(tag: str, *content: Content, **attributes: str) -> Element:
    """Return an element. `class_` stands for `class`, and `http_equiv` for `http-equiv`."""
    element = Element(tag, {name.rstrip("_").replace("_", "-"): _clean(value) for name, value in attributes.items()})
    for each in content:
        if isinstance(each, Element):
            element.append(each)
        elif each is not None and len(element):
            element[-1].tail = (element[-1].tail or "") + _clean(each)
        elif each is not None:
            element.text = (element.text or "") + _clean(each)
    return element


def _clean(text: str) -> str:
    """Return a text without characters that cannot be seen, or that change the order of others."""
    return "".join(
        each if each.isprintable() or each in "\n\t" else " " if each.isspace() else "\ufffd" for each in text
    )
