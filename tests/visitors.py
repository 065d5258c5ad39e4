"""A client of our HTTP servers."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from email.message import Message
from typing import Any


@dataclass(frozen=True)
class Answer:
    """A response: status, headers, and body (decoded when it is JSON)."""

    status: int
    headers: Message
    body: Any


class HttpVisitor:
    """Sends requests to the server at ``url``, without a proxy, and waits ``timeout`` seconds at most for each."""

    def __init__(self, url: str, *handlers: urllib.request.BaseHandler, timeout: float) -> None:
        self.url = url
        self.timeout = timeout
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), *handlers)

    def get(self, path: str, **headers: str) -> Answer:
        return self._send(urllib.request.Request(self.url + path, headers=headers))

    def _send(self, request: urllib.request.Request) -> Answer:
        try:
            response = self._opener.open(request, timeout=self.timeout)
        except urllib.error.HTTPError as error:
            response = error
        with response:
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(response.status, response.headers, json.loads(text) if is_json else text)
