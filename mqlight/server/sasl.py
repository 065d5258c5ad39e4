"""The server's half of SASL (AMQP 1.0 section 5.3): two headers and three small frames, before AMQP itself begins.

Pure: bytes in, bytes out. Bytes that follow the exchange in the same packet are kept for the engine.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from mqlight.amqp.codec import CodecError, Described, Ubyte, decode
from mqlight.amqp.frames import (
    AMQP_HEADER,
    CLOSE,
    MIN_FRAME,
    SASL_HEADER,
    SASL_INIT,
    SASL_MECHANISMS,
    SASL_OUTCOME,
    described_error,
    frame,
    performative,
    symbol_array,
)
from mqlight.amqp.text import control_in, printable
from mqlight.amqp.types import Condition

# A SASL frame has at most 512 bytes (section 5.3.1). This server accepts more, because a password may be long.
MOST = 4096
_OK, _REFUSED = 0, 1


@dataclass(frozen=True)
class Identity:
    """The identity that a client claims: the mechanism, and with PLAIN a user and a password."""

    mechanism: str
    user: str | None = None
    password: str | None = None

    def __repr__(self) -> str:
        return f"Identity({self.mechanism!r}, {self.user!r})"


Verdict = bool | str | None
"""True to accept a client, False or a reason to refuse it, None if :meth:`SaslServer.decide` is called later."""


class SaslServer:
    """One exchange. ``check(identity)`` returns the verdict on the client.

    After each :meth:`receive` the exchange is ``finished``, with ``identity`` and ``rest`` (bytes of AMQP that followed
    it); or it has ``failed``, with the reason; or it is ``pending`` until :meth:`decide`. Else it needs more bytes.
    """

    def __init__(
        self, check: Callable[[Identity], Verdict], mechanisms: tuple[str, ...] = ("ANONYMOUS", "PLAIN")
    ) -> None:
        self.finished = False
        self.pending = False
        self.failed: str | None = None
        self.identity: Identity | None = None
        self.rest = b""
        self._check = check
        self._mechanisms = mechanisms
        self._seen = b""
        self._greeted = False
        self._tell = False

    def receive(self, data: bytes) -> bytes:
        """Take the client's bytes. Return the bytes to send back."""
        if self.finished or self.failed:
            return b""
        self._seen += data
        if self.pending:
            return b""
        answer = b"" if self._greeted else self._greet()
        if self._greeted and not self.finished and not self.failed:
            answer += self._frame()
        return answer

    def _greet(self) -> bytes:
        if len(self._seen) < 8:
            if not (SASL_HEADER.startswith(self._seen) or AMQP_HEADER.startswith(self._seen)):
                return self._not_amqp(self._seen)
            return b""
        header, self._seen = self._seen[:8], self._seen[8:]
        if header == AMQP_HEADER:  # a client without SASL is anonymous
            answer = self._decide(Identity("ANONYMOUS"), tell=False, rest=header + self._seen)
            return SASL_HEADER if self.failed else answer  # tells the client that SASL is needed (section 2.2)
        if header != SASL_HEADER:
            return self._not_amqp(header)
        self._greeted = True
        return SASL_HEADER + _offer(self._mechanisms)

    def _not_amqp(self, header: bytes) -> bytes:
        self.failed = f"the client does not speak AMQP 1.0: it began with {header!r}"
        if header.startswith(b"\x16\x03"):
            self.failed += ", which is TLS; use an amqp:// URL, or start the server with --tls-cert"
        return SASL_HEADER  # section 2.2: answer with a supported header, then close

    def _frame(self) -> bytes:
        seen = self._seen
        if len(seen) < 8:
            return b""
        size, offset, kind = struct.unpack_from(">IBB", seen)
        if kind != 1 or not 8 <= size <= MOST or not 2 <= offset <= size // 4:
            return self._refuse(f"the client's SASL frame is malformed: it begins with {seen[:8].hex()}")
        if len(seen) < size:
            return b""
        try:
            identity = _identity(seen[offset * 4 : size])
        except ValueError as error:
            return self._refuse(f"the client's sasl-init is malformed: {error}")
        if identity.mechanism not in self._mechanisms:
            return self._refuse(
                f"the client asked for SASL {printable(identity.mechanism, 80)}, "
                f"and the server offers {', '.join(self._mechanisms)}"
            )
        return self._decide(identity, tell=True, rest=seen[size:])

    def _decide(self, identity: Identity, *, tell: bool, rest: bytes) -> bytes:
        self.identity, self._tell, self._seen = identity, tell, rest
        verdict = self._check(identity)
        self.pending = verdict is None
        return b"" if verdict is None else self.decide(verdict)

    def decide(self, verdict: bool | str) -> bytes:
        """Take the verdict on ``identity``. Return the bytes to send."""
        identity, self.pending = self.identity, False
        assert identity is not None
        if verdict is not True:
            self.identity = None
            refused = f"{identity.mechanism} was refused" + (f" for user {identity.user!r}" if identity.user else "")
            return self._refuse(f"{refused}: {verdict}" if verdict else refused)
        self.finished, self.rest, self._seen = True, self._seen, b""
        return _outcome(_OK) if self._tell else b""

    def _refuse(self, reason: str) -> bytes:
        self.failed = reason
        return _outcome(_REFUSED) if self._greeted else b""


def farewell(condition: Condition) -> bytes:
    """Return the bytes for a client that is turned away: a successful exchange, and an AMQP close frame.

    A refusal by SASL would stop the client for good, like a wrong password. This client should try again later.
    """
    close = frame(0, performative(CLOSE, [described_error(condition, MIN_FRAME)]))
    return SASL_HEADER + _offer(("ANONYMOUS", "PLAIN")) + _outcome(_OK) + AMQP_HEADER + close


def _identity(body: bytes) -> Identity:
    """Return the identity in the body of a sasl-init frame.

    Raises:
        ValueError: The frame is malformed. The text gives the reason.
    """
    try:
        init = decode(body)
    except CodecError as error:
        raise ValueError(str(error)) from None
    if not isinstance(init, Described) or init.descriptor not in (SASL_INIT, "amqp:sasl-init:list"):
        raise ValueError("the frame is not a sasl-init")
    fields = init.value
    if not isinstance(fields, list) or not fields or not isinstance(fields[0], str):
        raise ValueError("the frame has no mechanism")
    mechanism = str(fields[0])
    if mechanism != "PLAIN":
        return Identity(mechanism)
    response = fields[1] if len(fields) > 1 else None
    if not isinstance(response, bytes) or response.count(b"\0") != 2:
        raise ValueError("a PLAIN response has authorisation, user and password, with a zero byte between them")
    authorisation, user, password = response.decode("utf-8").split("\0")
    for what, text in (("user", user), ("password", password)):
        if (control := control_in(text)) is not None:
            raise ValueError(f"the {what} has the control character {control.partition(' ')[0]}")
    if authorisation not in ("", user):
        raise ValueError("a user cannot act for another user")
    return Identity(mechanism, user, password)


def _offer(mechanisms: tuple[str, ...]) -> bytes:
    return frame(0, performative(SASL_MECHANISMS, [symbol_array(mechanisms)]), 1)


def _outcome(code: int) -> bytes:
    return frame(0, performative(SASL_OUTCOME, [Ubyte(code)]), 1)
