"""What a user may send to and subscribe to: topic patterns, and whether they cover what is asked for.

It is pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from mqlight.amqp.types import Condition
from mqlight.wire.topics import is_wild, matches

MOST_STEPS = 20_000
"""The work that one question of :func:`covers` may make. What would take more counts as not covered."""
CLIENT = "{client}"
_OTHER = "/"
"""Stands for a level that no pattern names: no level can be spelt like this."""


@dataclass(frozen=True)
class Permissions:
    """Topic patterns. Nothing that they do not cover is allowed."""

    send: tuple[str, ...] = ()
    subscribe: tuple[str, ...] = ()

    def may_send(self, topic: str) -> bool:
        return any(matches(pattern, topic) for pattern in self.send)

    def may_subscribe(self, pattern: str) -> bool:
        """Whether every topic that ``pattern`` can match is allowed."""
        return covers(self.subscribe, pattern)

    def of_client(self, client_id: str) -> Permissions:
        """These, with ``{client}`` in them standing for one client's id."""
        if not any(CLIENT in pattern for pattern in self.send + self.subscribe):
            return self
        if not client_id or is_wild(client_id):  # it is the client's to choose, and must not open more than one topic
            return Permissions(*(tuple(p for p in each if CLIENT not in p) for each in (self.send, self.subscribe)))
        return Permissions(*(tuple(p.replace(CLIENT, client_id) for p in each) for each in (self.send, self.subscribe)))


EVERYTHING = Permissions(("#",), ("#",))


class User(NamedTuple):
    """Who a client is: a name, None for an anonymous one, and what it may do."""

    name: str | None
    permissions: Permissions

    def __str__(self) -> str:
        return "an anonymous client" if self.name is None else f"the user {self.name!r}"

    def refusal(self, verb: str, topic: str) -> Condition:
        """The error for what is not allowed. MQ Light clients know it by the 2035 in it (wire contract 1.8)."""
        doing = "send to" if verb == "send" else "subscribe to"
        return Condition(
            "amqp:not-allowed",
            f"not authorized: 2035 {self} may not {doing} {topic!r}; "
            f'a line "{self.name or "anonymous"} {verb} PATTERN" in the users file would allow it',
        )


def covers(allowed: Iterable[str], asked: str) -> bool:
    """Whether each topic that the pattern ``asked`` matches is matched by one of the patterns ``allowed``.

    Both are automata over levels. They are walked together: wherever a topic can lead in ``asked``, one of the places
    where it can lead in ``allowed`` has to match as well. Levels that nobody names are all alike.
    """
    wanted = asked.split("/")
    rules = [pattern.split("/") for pattern in allowed]
    if ["#"] in rules:
        return True
    named = {level for pattern in [wanted, *rules] for level in pattern} - {"#", "+"}
    open_ends = [(0, _closed(rules, {(rule, 0) for rule in range(len(rules))}))]
    seen: set[tuple[int, Places]] = set()
    begun, steps = False, 0
    while open_ends:
        at, places = open_ends.pop()
        ends = begun and all(level == "#" for level in wanted[at:])  # a topic has one level at least
        if ends and not any(place == len(rules[rule]) for rule, place in places):
            return False
        begun = True
        for here in range(at, len(wanted)):
            level = wanted[here]
            for step in {*named, _OTHER} if level in ("#", "+") else {level}:
                following = (here + (level != "#"), _after(rules, places, step))
                steps += len(following[1]) + 1
                if not following[1] or steps > MOST_STEPS:
                    return False  # some topic goes on this way, and nothing allows it
                if following not in seen:
                    seen.add(following)
                    open_ends.append(following)
            if level != "#":
                break
    return True


Places = frozenset[tuple[int, int]]
"""Where one can be: the number of a pattern and a place between its levels."""


def _after(rules: list[list[str]], places: Places, level: str) -> Places:
    """Where one level of a topic leads from ``places``."""
    reached = set()
    for rule, at in places:
        if at < len(rules[rule]):
            here = rules[rule][at]
            if here == "#":
                reached.add((rule, at))
            elif here == "+" or here == level:
                reached.add((rule, at + 1))
    return _closed(rules, reached)


def _closed(rules: list[list[str]], places: set[tuple[int, int]]) -> Places:
    """``places``, and those behind a "#" of no level."""
    for rule, at in list(places):
        while at < len(rules[rule]) and rules[rule][at] == "#":
            at += 1
            places.add((rule, at))
    return frozenset(places)
