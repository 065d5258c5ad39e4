"""Log in a client by SASL (AMQP 1.0 section 5.3): ANONYMOUS, PLAIN or EXTERNAL."""

from __future__ import annotations

from typing import Final

from mqlight.amqp.frames import (
    SASL_INIT,
    SASL_MECHANISMS,
    SASL_OUTCOME,
    U8,
    Fields,
    GarbledError,
    frame,
    performative,
)
from mqlight.amqp.types import Condition
from mqlight.amqp.values import Symbol

_TROUBLES: Final = {2: "a fault", 3: "a permanent fault", 4: "a passing fault"}


class SaslClient:
    """One SASL exchange. After each :meth:`receive` it may be ``done``, or ``refused`` has the reason.

    The client asks for PLAIN if there is a ``user``. It asks for EXTERNAL if ``external`` says that it showed a
    certificate and the server offers EXTERNAL. Otherwise it asks for ANONYMOUS.
    """

    __slots__ = ("_external", "_hostname", "_mechanism", "_password", "_user", "done", "refused")

    def __init__(self, user: str | None, password: str | None, external: bool, hostname: str | None) -> None:
        self.done = False
        self.refused: Condition | None = None
        self._user = user
        self._password = password or ""
        self._external = external
        self._hostname = hostname
        self._mechanism = ""

    def receive(self, fields: Fields) -> bytes:
        """Take a SASL frame of the server and return the answer. Raises GarbledError for an unexpected frame."""
        if fields.code == SASL_MECHANISMS and not self._mechanism:
            return self._choose(fields.symbols(0))
        if fields.code == SASL_OUTCOME and self._mechanism:
            code = fields.needed(0, U8, "code")
            if code == 0:
                self.done = True
            elif code in _TROUBLES:
                reason = f"the server could not check the login because of {_TROUBLES[code]} of its own"
                self.refused = Condition("amqp:internal-error", reason)
            else:
                self.refused = self._refusal(self._mechanism)
            return b""
        raise GarbledError(f"a SASL frame {fields.code:#x} came that was not due")

    def _choose(self, offered: tuple[str, ...]) -> bytes:
        if self._user is not None:
            wanted = ["PLAIN"]
        elif self._external:
            wanted = ["EXTERNAL", "ANONYMOUS"]
        else:
            wanted = ["ANONYMOUS"]
        for name in wanted:
            if name in offered:
                break
        else:
            refusal = self._refusal("none")
            self.refused = Condition(
                refusal.name,
                f"{refusal.description}: the server offers {', '.join(offered) or 'nothing'}, "
                f"and this client can {' or '.join(wanted)}",
            )
            return b""
        self._mechanism = name
        response = b""
        if name == "PLAIN":
            response = b"\0" + (self._user or "").encode() + b"\0" + self._password.encode()
        elif name == "ANONYMOUS":
            response = b"anonymous"
        return frame(0, performative(SASL_INIT, [Symbol(name), response, self._hostname]), 1)

    def _refusal(self, mechanism: str) -> Condition:
        return Condition("amqp:unauthorized-access", f"Authentication failed [mech={mechanism}]")
