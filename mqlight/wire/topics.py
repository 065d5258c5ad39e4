"""Topic patterns: which messages a subscription gets.

The rules of this file, MQ Light's (IBM MQ's topic scheme):

* ``/`` separates levels. An empty level is a level: ``/a`` has two, the first of them empty.
* In a pattern ``+`` stands for exactly one level and ``#`` for any number of levels, none included, wherever it stands:
  ``a/#`` matches ``a``, ``a/#/z`` matches ``a/z``. Both are special only as a whole level: ``USA#`` is a plain name.
* In the topic of a message nothing is special.
* Time is bounded by levels of the topic times levels of the pattern, however many ``#`` a stranger puts into it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from mqlight.wire.text import control_in

MAX_BYTES = 10_237
"""The longest topic or pattern in UTF-8, which is IBM MQ's limit."""

MAX_MULTI_LEVEL = 16
"""How often ``#`` may stand in a pattern: each one multiplies the work of a match."""

CACHED_TOPICS = 4_096
CACHED_LENGTH = 512

Value = TypeVar("Value")


class TopicError(ValueError):
    """A topic or pattern that cannot be one. The text says why."""


def validate_topic(topic: str) -> None:
    """Raise TopicError unless messages can be sent to ``topic``: text of 1 to MAX_BYTES bytes, none a control."""
    _validate(topic, "topic")


def validate_pattern(pattern: str) -> None:
    """Raise TopicError unless ``pattern`` can be subscribed to.

    It is text of 1 to MAX_BYTES bytes without control characters, with at most MAX_MULTI_LEVEL levels of ``#``.
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


def is_wild(pattern: str) -> bool:
    """Whether ``pattern`` can match any other topic than the one spelt like it."""
    if "#" not in pattern and "+" not in pattern:
        return False
    return any(level in ("#", "+") for level in pattern.split("/"))


def matches(pattern: str, topic: str) -> bool:
    """Whether a subscription to ``pattern`` gets a message sent to ``topic``."""
    wanted, levels = pattern.split("/"), topic.split("/")
    at = position = 0
    retry = behind = -1  # where the last "#" ends, and how far it reaches now
    while position < len(levels):
        if at < len(wanted) and wanted[at] == "#":
            at += 1
            retry, behind = at, position
        elif at < len(wanted) and wanted[at] in ("+", levels[position]):
            at += 1
            position += 1
        elif retry >= 0:  # let the last "#" take one level more; earlier ones need never change
            behind += 1
            at, position = retry, behind
        else:
            return False
    return all(level == "#" for level in wanted[at:])


class _Node(Generic[Value]):
    """The patterns that begin alike, up to one level."""

    __slots__ = ("any", "hashed", "levels", "one", "values")

    def __init__(self, hashed: bool = False) -> None:
        self.hashed = hashed  # reached by "#": stays active over any level
        self.levels: dict[str, _Node[Value]] = {}
        self.one: _Node[Value] | None = None
        self.any: _Node[Value] | None = None
        self.values: dict[Value, None] = {}

    def child(self, level: str) -> _Node[Value] | None:
        return self.one if level == "+" else self.any if level == "#" else self.levels.get(level)

    def grow(self, level: str) -> _Node[Value]:
        child: _Node[Value] = _Node(level == "#")
        if level == "+":
            self.one = child
        elif level == "#":
            self.any = child
        else:
            self.levels[level] = child
        return child

    def cut(self, level: str) -> None:
        if level == "+":
            self.one = None
        elif level == "#":
            self.any = None
        else:
            del self.levels[level]

    def empty(self) -> bool:
        return not (self.values or self.levels or self.one or self.any)


class PatternMap(Generic[Value]):
    """Values by topic pattern. One thread at a time.

    Values are hashable. Patterns without wildcards are found by a dict, the others by walking a tree of levels. What
    was found for a topic is remembered until the patterns change.
    """

    def __init__(self) -> None:
        self._exact: dict[str, dict[Value, None]] = {}
        self._root: _Node[Value] = _Node()
        self._cache: dict[str, tuple[Value, ...]] = {}

    def add(self, pattern: str, value: Value) -> None:
        """Let ``find`` give ``value`` for topics that match ``pattern``. To add a pair again changes nothing."""
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
        """Undo ``add`` of the same pair. Raises KeyError when there was none."""
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
        """The values whose patterns match ``topic``; one that was added for two of them comes twice."""
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
        """Walks all branches at once, level by level, so each node is visited at most once a level."""
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
    """``nodes``, and those that a "#" of no level leads to; each once."""
    reached = dict.fromkeys(nodes)
    for node in nodes:
        following = node.any
        while following is not None and following not in reached:
            reached[following] = None
            following = following.any
    return list(reached)
