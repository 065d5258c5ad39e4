"""Exchange the protocol headers and a client's SASL before a connection's frames (sections 2.2, 5.3).

A greeting has four phases, in the order of the constants below. A server's greeting begins with the third: its SASL
is over.
"""

from __future__ import annotations

from typing import Final

from mqlight.amqp.frames import AMQP_HEADER, SASL_HEADER, FrameError, read_fields, u32
from mqlight.amqp.sasl import SaslClient
from mqlight.amqp.types import Condition

MOST_SASL: Final = 4096
"""The most bytes of a SASL frame. The specification has 512 (section 5.3.1); some servers name more mechanisms."""

_SASL_HEADER_DUE: Final = 0
_SASL_DUE: Final = 1
_HEADER_DUE: Final = 2
_FRAMES_DUE: Final = 3


class Greeting:
    """One end's view of the greeting. After each :meth:`take`:

    * ``out`` has the bytes of SASL to send;
    * ``ready`` says that our AMQP may be sent, and ``done`` that the peer's frames follow;
    * ``refused`` has the reason if the connection is over, and ``failed`` says that this end found the fault;
    * ``need`` is the number of bytes that the next step needs.
    """

    __slots__ = ("_phase", "_sasl", "_server", "done", "failed", "need", "out", "ready", "refused")

    def __init__(self, server: bool, sasl: SaslClient) -> None:
        self._server = server
        self._sasl = sasl
        self._phase = _HEADER_DUE if server else _SASL_HEADER_DUE
        self.out = b"" if server else SASL_HEADER
        self.ready = False
        self.done = False
        self.refused: Condition | None = None
        self.failed = False
        self.need = 8

    def take(self, data: bytes) -> int:
        """Take bytes of the peer and return how many were used. Raises PeerError for an invalid SASL frame."""
        at = 0
        while not self.done and self.refused is None:
            start = at
            at = self._take_sasl(data, at) if self._phase == _SASL_DUE else self._take_header(data, at)
            if at == start:
                break
        return at

    def _take_sasl(self, data: bytes, at: int) -> int:
        rest = len(data) - at
        self.need = 8
        if rest < 8:
            return at
        size = int(u32(data, at))
        if size < 8 or size > MOST_SASL or data[at + 4] < 2 or data[at + 4] * 4 > size or data[at + 5] != 1:
            raise FrameError(f"the peer's SASL frame is malformed: it begins with {data[at : at + 8].hex()}")
        if rest < size:
            self.need = size
            return at
        fields, _ = read_fields(data, at + 4 * data[at + 4], at + size)
        self.out += self._sasl.receive(fields)
        self.refused = self._sasl.refused
        if self._sasl.done:
            self._phase = _HEADER_DUE
            self.ready = True
        return at + size

    def _take_header(self, data: bytes, at: int) -> int:
        header = SASL_HEADER if self._phase == _SASL_HEADER_DUE else AMQP_HEADER
        seen = data[at : min(at + 8, len(data))]
        if not header.startswith(seen):
            who = "client" if self._server else "server"
            what = "SASL" if self._phase == _SASL_HEADER_DUE else "AMQP"
            reason = f"the {who} began with {seen!r} where the {what} header was due"
            self.refused = Condition("amqp:connection:framing-error", reason)
            self.failed = True
            self.ready = self.ready or self._server  # a server answers with the header that it knows (section 2.2)
            return len(data)
        self.need = 8
        if len(seen) < 8:
            return at
        if self._phase == _SASL_HEADER_DUE:
            self._phase = _SASL_DUE
        else:
            self._phase = _FRAMES_DUE
            self.ready = self.done = True
        return at + 8
