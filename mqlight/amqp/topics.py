"""Match topics with topic patterns, which decide which messages a subscription gets.

The rules of this file are those of MQ Light (IBM MQ's topic scheme):

* ``/`` separates levels. An empty level is a level: ``/a`` has two, and the first is empty.
* In a pattern ``+`` stands for exactly one level, and ``#`` for any number of levels, including none, at any place:
  ``a/#`` matches ``a``, ``a/#/z`` matches ``a/z``. Both are special only as a whole level: ``USA#`` is a plain name.
* In the topic of a message no character but ``/`` is special.
* The time of a match is bounded by levels of the topic times levels of the pattern, for any number of ``#``.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from mqlight.amqp.text import control_in

MAX_BYTES = 10_237
"""The most bytes of a topic or pattern in UTF-8: IBM MQ's limit."""

MAX_MULTI_LEVEL = 16
"""The most levels ``#`` in a pattern: each multiplies the work of a match."""

CACHED_TOPICS = 4_096
CACHED_LENGTH = 512

Value = TypeVar("Value")


class TopicError(ValueError):
    """A topic or pattern is invalid. The text gives the reason."""


def validate_topic(topic: str) -> None:
    """Raise TopicError unless ``topic`` is text of 1 to MAX_BYTES bytes without control characters."""
    _validate(topic, "topic")


def validate_pattern(pattern: str) -> None:
    """Raise TopicError unless a client can subscribe to ``pattern``.

    A pattern is text of 1 to MAX_BYTES bytes without control characters, with at most MAX_MULTI_LEVEL levels of ``#``.
    """
    _validate(pattern, "topic pattern")
    if pattern.count("#") > MAX_MULTI_LEVEL and pattern.split("/").count("#") > MAX_MULTI_LEVEL:
        raise TopicError(f"The topic pattern {pattern[:40]!r}... has more than {MAX_MULTI_LEVEL} levels of '#'.")


def _validate(text: str, what: str) -> None:
    if not isinstance(text, str):
        raise TopicError(f"A {what} is a str, not {text!r}.")
    if not text:
        raise TopicError(f"The {what} is empty; give at least one character.")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise TopicError(f"The {what} {text[:80]!r} holds half of a surrogate pair; take it out.") from None
    if (control := control_in(text)) is not None:
        raise TopicError(f"The {what} {text[:80]!r} has the control character {control}; take it out.")
    if size > MAX_BYTES:
        raise TopicError(f"The {what} {text[:40]!r}... has {size} bytes in UTF-8; the limit is {MAX_BYTES}.")


def subscription_address(pattern: str, share: str | None) -> str:
    """Return MQ Light's address of a subscription, for an AMQP source (docs/mqlight-contract.md)."""
    return f"private:{pattern}" if share is None else f"share:{share}:{pattern}"


def is_wild(pattern: str) -> bool:
    """Return whether ``pattern`` has wildcards, so that it can match more than the topic spelt like it."""
    if "#" not in pattern and "+" not in pattern:
        return False
    return any(level in ("#", "+") for level in pattern.split("/"))


def matches(pattern: str, topic: str) -> bool:
    """Return whether a subscription to ``pattern`` gets a message sent to ``topic``."""
    wanted, levels = pattern.split("/"), topic.split("/")
    at = position = 0
    retry = behind = -1  # the level after the last "#", and how far that "#" reaches now
    while position < len(levels):
        if at < len(wanted) and wanted[at] == "#":
            at += 1
            retry, behind = at, position
        elif at < len(wanted) and wanted[at] in ("+", levels[position]):
            at += 1
            position += 1
        elif retry >= 0:  # let the last "#" take one level more; earlier "#" need never change
            behind += 1
            at, position = retry, behind
        else:
            return False
    return all(level == "#" for level in wanted[at:])


class _Node(Generic[Value]):
    """A node of the tree: the patterns that share their first levels."""

    __slots__ = ("any", "hashed", "levels", "one", "values")

    def __init__(self, hashed: bool = False) -> None:
        self.hashed = hashed  # reached by "#": stays active over any level
        self.levels: dict[str, _Node[Value]] = {}
        self.one: _Node[Value] | None = None
        self.any: _Node[Value] | None = None
        self.values: dict[Value, None] = {}

    def child(self, level: str) -> _Node[Value] | None:
        """Return the node for one more level of a pattern, None if there is none."""
        return self.one if level == "+" else self.any if level == "#" else self.levels.get(level)

    def grow(self, level: str) -> _Node[Value]:
        """Add the node for one more level of a pattern and return it."""
        child: _Node[Value] = _Node(level == "#")
        if level == "+":
            self.one = child
        elif level == "#":
            self.any = child
        else:
            self.levels[level] = child
        return child

    def cut(self, level: str) -> None:
        """Remove the node for one more level of a pattern."""
        if level == "+":
            self.one = None
        elif level == "#":
            self.any = None
        else:
            del self.levels[level]

    def empty(self) -> bool:
        """Return whether the node has neither values nor children."""
        return not (self.values or self.levels or self.one or self.any)


class PatternMap(Generic[Value]):
    """Hashable values by topic pattern. Use it from one thread at a time.

    A dict finds patterns without wildcards, and a tree of levels finds the others. The values found for a topic are
    cached until the patterns change.
    """

    def __init__(self) -> None:
        self._exact: dict[str, dict[Value, None]] = {}
        self._root: _Node[Value] = _Node()
        self._cache: dict[str, tuple[Value, ...]] = {}

    def add(self, pattern: str, value: Value) -> None:
        """Let ``find`` return ``value`` for topics that match ``pattern``. Adding a pair again changes nothing."""
        if not is_wild(pattern):
            self._exact.setdefault(pattern, {})[value] = None
            self._cache.pop(pattern, None)
            return
        node = self._root
        for level in pattern.split("/"):
            node = node.child(level) or node.grow(level)
        node.values[value] = None
        self._cache.clear()

    def remove(self, pattern: str, value: Value) -> None:
        """Remove a pair that ``add`` added. Raises KeyError if the pair is not there."""
        if not is_wild(pattern):
            values = self._exact[pattern]
            del values[value]
            if not values:
                del self._exact[pattern]
            self._cache.pop(pattern, None)
            return
        path = []
        node = self._root
        for level in pattern.split("/"):
            path.append((node, level))
            child = node.child(level)
            if child is None:
                raise KeyError(pattern)
            node = child
        del node.values[value]
        self._cache.clear()
        while path and node.empty():
            node, level = path.pop()
            node.cut(level)

    def find(self, topic: str) -> tuple[Value, ...]:
        """Return the values whose patterns match ``topic``. A value with two such patterns comes twice."""
        try:
            return self._cache[topic]
        except KeyError:
            found = (*self._exact.get(topic, ()), *self._wild(topic))
            if len(topic) <= CACHED_LENGTH:
                if len(self._cache) >= CACHED_TOPICS:
                    self._cache.clear()
                self._cache[topic] = found
            return found

    def _wild(self, topic: str) -> list[Value]:
        """Return the values of matching patterns with wildcards.

        All branches are walked level by level at once, so each node is visited at most once per level.
        """
        active = _closure([self._root])
        for level in topic.split("/"):
            following = []
            for node in active:
                if node.hashed:
                    following.append(node)
                named = node.levels.get(level)
                if named is not None:
                    following.append(named)
                if node.one is not None:
                    following.append(node.one)
            active = _closure(following)
            if not active:
                return []
        return [value for node in active for value in node.values]


def _closure(nodes: list[_Node[Value]]) -> list[_Node[Value]]:
    """Return ``nodes`` and the nodes that a "#" for no level leads to, each once."""
    reached = dict.fromkeys(nodes)
    for node in nodes:
        following = node.any
        while following is not None and following not in reached:
            reached[following] = None
            following = following.any
    return list(reached)
