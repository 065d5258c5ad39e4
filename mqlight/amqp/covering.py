"""Compare topic patterns: whether some of them match every topic that another one matches."""

from __future__ import annotations

from collections.abc import Iterable

MOST_STEPS = 20_000
"""The most steps of one call of :func:`covers`. A pattern that needs more steps counts as not covered."""
_OTHER = "/"
"""Stands for a level that no pattern names: no level can contain this character."""


def covers(allowed: Iterable[str], asked: str) -> bool:
    """Return whether the patterns ``allowed`` match every topic that the pattern ``asked`` matches.

    Both sides are automata over levels, which are walked together. Wherever a topic can lead in ``asked``, one of the
    places where it can lead in ``allowed`` must match too. All levels that no pattern names are equivalent.
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
        ends = begun and all(level == "#" for level in wanted[at:])  # a topic has at least one level
        if ends and not any(place == len(rules[rule]) for rule, place in places):
            return False
        begun = True
        for here in range(at, len(wanted)):
            level = wanted[here]
            for step in {*named, _OTHER} if level in ("#", "+") else {level}:
                following = (here + (level != "#"), _after(rules, places, step))
                steps += len(following[1]) + 1
                if not following[1] or steps > MOST_STEPS:
                    return False  # some topic continues this way, and no pattern allows it
                if following not in seen:
                    seen.add(following)
                    open_ends.append(following)
            if level != "#":
                break
    return True


Places = frozenset[tuple[int, int]]
"""Possible places in the automaton: each is the index of a pattern and a position between its levels."""


def _after(rules: list[list[str]], places: Places, level: str) -> Places:
    """Return the places that one level of a topic leads to from ``places``."""
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
    """Return ``places``, and the places that follow them if a "#" matches no level."""
    for rule, at in list(places):
        while at < len(rules[rule]) and rules[rule][at] == "#":
            at += 1
            places.add((rule, at))
    return frozenset(places)
