"""All destinations of a server, found by name, by topic and by link. Pure."""

from __future__ import annotations

from collections import Counter

from mqlight.amqp.topics import PatternMap
from mqlight.amqp.types import Condition
from mqlight.server.destination import Destination, DestinationName, Owner
from mqlight.server.limits import Limits


class Directory:
    """The destinations, and how many each user and each client id has."""

    def __init__(self, limits: Limits) -> None:
        self.by_name: dict[DestinationName, Destination] = {}
        self._limits = limits
        self.by_topic: PatternMap[Destination] = PatternMap()
        """The destinations by their patterns."""
        self._by_link: dict[tuple[str | int | None, str], Destination] = {}
        """Destinations of plain addresses that outlive their links, by client and link name."""
        self._of_user: Counter[str | None] = Counter()
        self._of_client: Counter[Owner] = Counter()

    def lasting(self, client_id: str, link: str) -> Destination | None:
        """Return the lasting destination of a client's link with a plain address, or None. ``link`` is its name."""
        return self._by_link.get((client_id, link))

    def excess(self, owner: Owner) -> Condition | None:
        """Return the reason why a client may not make another destination; None if it may."""
        limits, user, client = self._limits, self._of_user[owner.user], self._of_client[owner]
        if len(self.by_name) >= limits.destinations:
            return limits.reached("destinations", f"the server has {len(self.by_name)} destinations already")
        if user >= limits.destinations_per_user:
            who = "anonymous clients have" if owner.user is None else f"the user {owner.user!r} has"
            return limits.reached("destinations_per_user", f"{who} {user} destinations already")
        if client >= limits.destinations_per_client:
            reason = f"the client id {owner.client_id!r} has {client} destinations already"
            return limits.reached("destinations_per_client", reason)
        return None

    def add(self, destination: Destination) -> None:
        """Add a destination that has another name than the others."""
        name, owner = destination.name, destination.owner
        self.by_name[name] = destination
        self.by_topic.add(name.pattern, destination)
        self._of_user[owner.user] += 1
        self._of_client[owner] += 1
        if isinstance(name.link, str):
            self._by_link[name.client_id, name.link] = destination

    def remove(self, destination: Destination) -> None:
        """Remove a destination."""
        name, owner = destination.name, destination.owner
        del self.by_name[name]
        self.by_topic.remove(name.pattern, destination)
        self._of_user[owner.user] -= 1
        self._of_client[owner] -= 1
        if not self._of_user[owner.user]:
            del self._of_user[owner.user]
        if not self._of_client[owner]:
            del self._of_client[owner]
        if isinstance(name.link, str):
            del self._by_link[name.client_id, name.link]
