"""The price of a wrong password: a delay before the answer, and a limit on simultaneous attempts.

Pure: addresses and users are arguments, and ``now`` is seconds on a monotonic clock.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv6Address

from mqlight.server.access import ip_of

FIRST_DELAY = 0.25
"""Seconds of delay after the first wrong password. Each further one doubles the delay."""
LONGEST_DELAY = 5.0
FORGIVEN = 120.0
"""Seconds without a failure after which the delay of a user at an address starts anew."""
MOST_FAILURES = 10_000
MOST_AT_ONCE = 4
"""The most logins of one user from one address that are checked or delayed at the same time."""

Login = tuple[str, int]
"""An address and a user. The hash of the user's name is kept, because the name may be long."""


class Throttle:
    """Counts of wrong passwords by address and user. Other users at the same address are not delayed.

    Memory is bounded. Existing and unknown users are counted apart, so that made-up names never push out the count of a
    real user. An IPv6 client has its whole /64, so that network counts as one address.
    """

    def __init__(self) -> None:
        self._failed: dict[bool, OrderedDict[Login, tuple[int, float]]] = {True: OrderedDict(), False: OrderedDict()}
        self._busy: dict[Login, int] = {}

    def begin(self, address: str, user: str) -> bool:
        """Begin a login. Return False if too many logins of this user at this address run; the caller tries later."""
        login = _counted(address), hash(user)
        busy = self._busy.get(login, 0)
        if busy >= MOST_AT_ONCE:
            return False
        self._busy[login] = busy + 1
        return True

    def end(self, address: str, user: str) -> None:
        """End a login that :meth:`begin` allowed, after its delay."""
        login = _counted(address), hash(user)
        busy = self._busy.pop(login, 1) - 1
        if busy:
            self._busy[login] = busy

    def failed(self, address: str, user: str, now: float, *, known: bool) -> float:
        """Count a wrong password. Return the seconds from the start of the login to its answer.

        ``known`` says whether the user exists.
        """
        login, failed = (_counted(address), hash(user)), self._failed[known]
        count, last = failed.pop(login, (0, now))
        count = 1 if now - last > FORGIVEN else count + 1
        failed[login] = count, now
        if len(failed) > MOST_FAILURES:
            failed.popitem(last=False)
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(count - 1, 20))


def _counted(address: str) -> str:
    ip = ip_of(address)
    return ip.exploded[:19] if isinstance(ip, IPv6Address) else str(ip or address)
