"""The filter language: ``topic:orders/# from:web* state:waiting -topic:health/# text``.

Terms with spaces between them must all hold. ``|`` between two terms means either of them. ``-`` or ``!`` before a term
means not. Pure, and without code: a filter can only compare.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from fnmatch import fnmatchcase

from mqlight.amqp.topics import matches
from mqlight.server.console.history import Story

MOST = 500
"""The most characters of a filter."""
KEYS = ("topic", "from", "to", "state", "role", "trace", "body", "age", "size")
STATES = ("waiting", "held", "accepted", "rejected", "expired", "dropped", "nobody", "refused")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "k": 1024.0, "M": 1024.0 * 1024.0}

Test = Callable[[Story, float, bool], bool]
"""Takes a story, the time, and whether its body is visible. Returns whether the story passes the filter."""


class QueryError(ValueError):
    """The filter is invalid. The text names the wrong part."""


def parse(text: str) -> Test:
    """Return the test of a filter.

    Raises:
        QueryError: The filter is invalid.
    """
    if len(text) > MOST:
        raise QueryError(f"the filter has {len(text)} characters; {MOST} are allowed")
    try:
        lexer = shlex.shlex(text, posix=True, punctuation_chars="|")
        lexer.whitespace_split = True
        lexer.commenters = ""
        lexer.escape = ""
        lexer.quotes = '"'
        words = list(lexer)
    except ValueError:
        raise QueryError('a quotation mark is not closed: write body:"two words"') from None
    groups: list[list[Test]] = []
    either = False
    for word in words:
        if set(word) == {"|"}:
            if not groups:
                raise QueryError("there is nothing before |")
            either = True
            continue
        if either:
            groups[-1].append(_term(word))
        else:
            groups.append([_term(word)])
        either = False
    if either:
        raise QueryError("there is nothing after |")
    return lambda story, now, seen: all(any(test(story, now, seen) for test in group) for group in groups)


def _term(word: str) -> Test:
    if word[0] in "-!" and len(word) > 1:
        test = _term(word[1:])
        return lambda story, now, seen: not test(story, now, seen)
    key, colon, value = word.partition(":")
    if not colon or key not in KEYS:
        needle = word.casefold()
        return lambda story, now, seen: (
            needle in story.topic.casefold() or needle in story.sender.casefold() or _in_body(story, needle, seen)
        )
    if not value:
        raise QueryError(f"{key}: has no value; write for example {_EXAMPLES[key]}")
    return _TERMS[key](value)


def _topic(value: str) -> Test:
    if "*" in value:
        return lambda story, now, seen: fnmatchcase(story.topic, value)
    return lambda story, now, seen: matches(value, story.topic)


def _sender(value: str) -> Test:
    return lambda story, now, seen: fnmatchcase(story.sender, value)


def _receiver(value: str) -> Test:
    def test(story: Story, now: float, seen: bool) -> bool:
        for branch in story.branches:
            name = branch.destination.name
            if value in (str(name), name.share or "", f"#{branch.destination.number}"):
                return True
            if any(event.who and fnmatchcase(event.who, value) for event in branch.events):
                return True
        return False

    return test


def _state(value: str) -> Test:
    if value not in STATES:
        raise QueryError(f"there is no state {value}; there are {', '.join(STATES)}")
    return lambda story, now, seen: story.state == value


def _role(value: str) -> Test:
    return lambda story, now, seen: story.content.role == value


def _trace(value: str) -> Test:
    return lambda story, now, seen: story.content.trace_id.startswith(value)


def _body(value: str) -> Test:
    needle = value.casefold()
    return lambda story, now, seen: _in_body(story, needle, seen)


def _in_body(story: Story, needle: str, seen: bool) -> bool:
    return seen and needle in story.content.text.casefold()


def _compared(figure: Callable[[Story, float], float], key: str, value: str) -> Test:
    digits = value.lstrip("<>")
    unit = _UNITS.get(digits[-1:], 1.0)
    try:
        limit = float(digits[:-1] if digits[-1:] in _UNITS else digits) * unit
    except ValueError:
        raise QueryError(f"{key}:{value} is no size; write for example {_EXAMPLES[key]}") from None
    if value.startswith("<"):
        return lambda story, now, seen: figure(story, now) < limit
    return lambda story, now, seen: figure(story, now) > limit


def _age(value: str) -> Test:
    return _compared(lambda story, now: now - story.at, "age", value)


def _size(value: str) -> Test:
    return _compared(lambda story, now: story.size, "size", value)


_EXAMPLES = {
    "topic": "topic:orders/#", "from": "from:web*", "to": "to:billing", "state": "state:waiting", "role": "role:error",
    "trace": "trace:4bf92f35", "body": "body:apples", "age": "age:>5s", "size": "size:>10k",
}  # fmt: skip
_TERMS: dict[str, Callable[[str], Test]] = {
    "topic": _topic, "from": _sender, "to": _receiver, "state": _state, "role": _role, "trace": _trace,
    "body": _body, "age": _age, "size": _size,
}  # fmt: skip
