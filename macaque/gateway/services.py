"""The services that the gateway knows of, from discovery: which are safe, which stream, and their schemas.

The rules of this file:

* All servers are asked every few seconds, and only while there are requests.
* A call does not wait for an answer: it uses the last one. A GET waits, if nothing is known of its service.
* Several servers may tell of one topic. It is safe only if all of them say so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

import msgspec

from macaque.client import Client
from macaque.errors import MacaqueError, NoResponders
from macaque.observe.discovery import ask
from macaque.observe.info import ServiceInfo
from mqlight.amqp.topics import is_wild, matches
from mqlight.log import Log

__all__ = ["Services"]

log = Log(__name__)

FRESH = 5.0
"""Seconds from one question to the next."""
SOON = 1.0
"""The same while something is asked for that no server has told of: it may have started just now."""
PATIENCE = 5.0
"""Seconds in which the first connection may be made. While a connection is lost, calls fail at once."""
WAIT = 0.5
"""Seconds in which servers answer."""


class Services:
    """The services at the broker of a client."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = -FRESH
        """When servers were asked last, in seconds of the monotonic clock."""
        self._asking = threading.Lock()
        """Is held while servers are asked."""
        self._exact: dict[str, list[ServiceInfo]] = {}
        self._wild: list[ServiceInfo] = []

    def client(self) -> Client:
        """Return the client that calls them. Raises ConnectionLost: it has no connection at the moment."""
        if not self._client.connected:
            self._client.connect(PATIENCE)
        return self._client

    def at(self, path: str) -> str:
        """Return the topic at a path: the path, or the path with a "/" before it if only that is known."""
        return path if self.find(path) is not None or self.find(f"/{path}") is None else f"/{path}"

    def find(self, topic: str) -> ServiceInfo | None:
        """Return what the last answers tell of the service at a topic, or None. Does not wait."""
        found = [*self._exact.get(topic, ()), *(info for info in self._wild if matches(info.topic, topic))]
        self._refresh(FRESH if found else SOON)
        return _merged(found) if found else None

    def look(self, topic: str) -> None:
        """Wait for the answers of the servers, if the topic is not known and they are asked now."""
        if self.find(topic) is None:
            self._wait()

    def all(self) -> Sequence[ServiceInfo]:
        """Return one `ServiceInfo` for each topic, by the newest answers."""
        self._refresh(SOON)
        self._wait()
        topics: dict[str, list[ServiceInfo]] = {}
        for info in (*(info for infos in self._exact.values() for info in infos), *self._wild):
            topics.setdefault(info.topic, []).append(info)
        return [_merged(topics[topic]) for topic in sorted(topics)]

    def _refresh(self, fresh: float) -> None:
        """Begin to ask all servers, unless they were asked in the last `fresh` seconds."""
        if time.monotonic() < self._asked + fresh or not self._asking.acquire(blocking=False):
            return
        self._asked = time.monotonic()
        try:
            threading.Thread(target=self._ask, name="macaque-discovery", daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            self._asking.release()
            log.warning("the services cannot be asked about: %s", error)

    def _wait(self) -> None:
        with self._asking:
            pass

    def _ask(self) -> None:
        """Ask all servers, and let others ask again."""
        try:
            servers = ask(self._client, WAIT, "info")
            self._keep([info for server in servers for info in server.services or ()])
        except NoResponders:
            self._keep([])
        except MacaqueError as error:
            log.debug("no server has told of its services, so the last answers stay: %s", error)
        finally:
            self._asking.release()

    def _keep(self, infos: Iterable[ServiceInfo]) -> None:
        exact: dict[str, list[ServiceInfo]] = {}
        wild: list[ServiceInfo] = []
        for info in infos:
            if is_wild(info.topic):
                wild.append(info)
            else:
                exact.setdefault(info.topic, []).append(info)
        self._exact, self._wild = exact, wild


def _merged(infos: Sequence[ServiceInfo]) -> ServiceInfo:
    """Return what several servers tell of one topic as one."""
    safe, streams = all(info.safe for info in infos), any(info.streams for info in infos)
    return msgspec.structs.replace(infos[0], safe=safe, streams=streams)
