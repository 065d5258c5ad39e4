"""The description of the services for callers: an OpenAPI 3.1 document, and a page for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from wsgiref.util import application_uri

import mqlight
from macaque.gateway.allowed import Allowed
from macaque.gateway.services import Services
from macaque.http.answer import Answer, Header
from macaque.observe.info import ServiceInfo
from macaque.specs.openapi import openapi
from macaque.specs.page import POLICY, page
from mqlight.json_text import encode_json

__all__ = ["Described"]

TITLE = "Services"
PAGE = ("Content-Security-Policy", f"{POLICY}; frame-ancestors 'none'")
MOST = 64
"""The most documents that are kept."""


class Described:
    """The documents about the services, made anew when the services have changed.

    Args:
        services: the services.
        tokens: whether callers need a token.
    """

    def __init__(self, services: Services, tokens: bool) -> None:
        self._services = services
        self._tokens = tokens
        self._infos: Sequence[ServiceInfo] = ()
        self._made: dict[tuple[str, str, Allowed], Answer] = {}

    def find(self, environ: dict[str, Any]) -> Callable[[Allowed], Answer] | None:
        """Return the function that makes the answer to a request, given the topics of the caller.

        None: the request is not for one of the documents.
        """
        path = environ.get("PATH_INFO")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD") or path not in ("/", "/openapi.json"):
            return None
        return partial(self._answer, path, application_uri(environ).rstrip("/"))

    def _answer(self, path: str, url: str, allowed: Allowed) -> Answer:
        infos = self._services.all()
        if infos != self._infos or len(self._made) >= MOST:
            self._infos, self._made = infos, {}
        key = path, url, allowed
        if key not in self._made:
            told = [info for info in infos if allowed.may_call_all(info.topic)]
            make = self._page if path == "/" else self._document
            self._made[key] = make(told, url)
        return self._made[key]

    def _page(self, infos: Sequence[ServiceInfo], url: str) -> Answer:
        links = [("OpenAPI", "openapi.json")]
        text = page(
            infos, title=TITLE, version=mqlight.__version__, amqp=False, http=url, tokens=self._tokens, links=links
        )
        return _answer("text/html; charset=utf-8", text.encode(), PAGE)

    def _document(self, infos: Sequence[ServiceInfo], url: str) -> Answer:
        document = openapi(infos, title=TITLE, version=mqlight.__version__, server_url=url, tokens=self._tokens)
        return _answer("application/json", encode_json(document))


def _answer(kind: str, body: bytes, *headers: Header) -> Answer:
    return Answer(200, (("Content-Type", kind), ("Content-Length", str(len(body))), *headers), body)
