"""The frames that an open page gets: complete small snapshots, paced by their cost.

A frame is never a difference. A page that cannot keep up skips frames, and needs nothing from the skipped ones.
"""

from __future__ import annotations

import time
from collections.abc import Generator

import gevent
import msgspec

from mqlight.server.console import dead
from mqlight.server.console.query import Test
from mqlight.server.console.sessions import Reader, Sessions
from mqlight.server.console.views import Views

FRAME = 0.1
"""The least number of seconds between two frames."""
SHARE = 40
"""The pause after a frame, as a multiple of the frame's cost. It limits the share of the server that pages take."""
BUSY, BUSY_FRAME = 1000.0, 0.5
"""Above ``BUSY`` messages a second, frames are ``BUSY_FRAME`` seconds apart, because people cannot read faster."""
HEARTBEAT = 15.0
_encode = msgspec.json.encode


class Frames:
    """The streams of all open pages. Set ``over`` to end them."""

    def __init__(self, views: Views, sessions: Sessions) -> None:
        self.over = False
        self.watching = 0
        """The number of open pages."""
        self._views = views
        self._sessions = sessions
        self._shared: tuple[float, bytes] = (float("-inf"), b"")

    def of(self, cookie: str | None, view: str, test: Test | None) -> Generator[bytes, None, None]:
        """Yield the frames of a page until it closes. Filters run here, so that only matching messages are sampled."""
        self.watching += 1
        last, said_at = b"", time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            while not self.over and (reader := self._sessions.of(cookie)) is not None:
                now = time.monotonic()
                began = time.thread_time()
                frame = self._frame(reader, view, test, now)
                cost = time.thread_time() - began
                if frame != last:
                    yield b'data: {"now":%d,%s}\n\n' % (self._views.wall(now), frame)
                    last, said_at = frame, now
                elif now - said_at > HEARTBEAT:
                    yield b": still here\n\n"
                    said_at = now
                gevent.sleep(max(BUSY_FRAME if self._views.overview.rate > BUSY else FRAME, SHARE * cost))
            yield b"event: over\ndata: {}\n\n"
        finally:
            self.watching -= 1

    def _frame(self, reader: Reader, view: str, test: Test | None, now: float) -> bytes:
        views = self._views
        frame = self._common(now)
        if view == "messages":
            stories, more = views.messages.find(test, now, reader.sees)
            rows = b",".join(views.messages.row(story, now, reader.sees) for story in stories)
            frame += b',"messages":[%s],"more":%s' % (rows, b"null" if more is None else b"%d" % more)
        elif view == "calls":
            frame += b',"calls":' + _encode(views.calls.rows(reader.sees))
        elif view == "services":
            views.services.look(now)
            frame += b',"services":' + _encode(views.services.rows(now, reader.knows))
        elif view == "dead":
            frame += b',"letters":' + _encode(dead.rows(views.broker, reader.sees))
        return frame

    def _common(self, now: float) -> bytes:
        """Return the part that all pages show. It is made once for all of them."""
        views = self._views
        at, common = self._shared
        if now - at >= FRAME * 0.9:
            common = _encode({
                "demo": views.demo.running,
                "totals": views.overview.totals(now),
                "clients": views.clients.cards(),
                "destinations": views.destinations.cards(now),
                "attention": views.overview.attention(now),
            })[1:-1]  # fmt: skip
            self._shared = now, common
        return common
