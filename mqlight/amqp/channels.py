"""Find the sessions of a connection by channel. Each end numbers its own channels (section 2.5.1)."""

from __future__ import annotations

from typing import Any

from mqlight.amqp.connection import Connection
from mqlight.amqp.frames import U16, Fields, FrameError, GarbledError
from mqlight.amqp.link import Link
from mqlight.amqp.session import Session


class Channels:
    """The sessions that have begun at either end. ``most`` is our channel-max, ``peer_most`` the peer's."""

    __slots__ = ("_connection", "_current", "_most", "_ours", "_theirs", "peer_most")

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection = connection
        self._most = most
        self.peer_most = U16
        self._ours: dict[int, Session] = {}
        self._theirs: dict[int, Session] = {}
        self._current: Session | None = None
        """The session that takes our new links."""

    def new_link(self, name: str, receiver: bool) -> Link:
        """Return a link of ours to attach. Its name is ``name``, with a number added while that name is in use."""
        connection = self._connection
        free, number = name, 1
        while (free, receiver) in connection.attached:
            number += 1
            free = f"{name}~{number}"
        session = self._session()
        link = session.attaching[(free, receiver)] = connection.new_link(session, free, receiver, True)
        return link

    def _session(self) -> Session:
        """Return a session for one more link.

        It is a new one if the peer's handle-max is reached and its channel-max allows another session.
        """
        session = self._current
        if session is None or (session.handles > session.peer_handle_max and self._free() <= self.peer_most):
            session = self._current = self._add()
            session.write_begin()
        return session

    def _free(self) -> int:
        channel = 0
        while channel in self._ours:
            channel += 1
        return channel

    def _add(self) -> Session:
        channel = self._free()
        session = self._ours[channel] = Session(self._connection, channel)
        return session

    def find(self, channel: int) -> Session:
        """Return the session of the peer's ``channel``. Raises GarbledError if there is none."""
        session = self._theirs.get(channel)
        if session is None:
            raise GarbledError(f"a frame came on channel {channel}, which has no session")
        return session

    def begin(self, fields: Fields, channel: int) -> None:
        """Take a begin frame of the peer (section 2.7.2). It answers ours, or it opens a session that we answer."""
        if channel > self._most:
            raise FrameError(f"a session began on channel {channel}, and channel-max is {self._most}")
        answered = fields.number(0, U16)
        if channel in self._theirs:
            raise GarbledError("a session began twice")
        session: Any = None
        if answered >= 0:
            session = self._ours.get(answered)
            if session is None or session.begun:
                raise GarbledError("a session began twice")
        elif self._free() > self.peer_most:
            raise FrameError(f"the peer began more sessions than its channel-max of {self.peer_most} allows")
        else:
            session = self._add()
        session.begin(fields, channel)
        self._theirs[channel] = session
        if answered < 0:
            session.write_begin()

    def remove(self, session: Session) -> None:
        """Forget a session that the peer has ended."""
        self._theirs.pop(session.peer_channel, None)
        self._ours.pop(session.channel, None)

    def leave(self, session: Session) -> None:
        """Attach no more links on a session."""
        if self._current is session:
            self._current = None
