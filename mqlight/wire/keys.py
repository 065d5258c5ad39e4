"""Topics as words with dots between them, which is how RabbitMQ and Artemis spell them, and back.

The rules of this file:

* A level of a topic is a word of a key: ``a/b`` is ``a.b``. What is special to either broker inside a level, and ``%``,
  is percent-encoded, byte by byte of its UTF-8. An empty level is the word ``%``, which nothing else is.
* In a pattern the level ``+`` is the word ``*``, and ``#`` stays ``#``: both brokers mean by them what MQ Light means.
* :func:`topic_of_key` undoes :func:`key_of_topic`, whatever the topic.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[%.*#:?|,&=\x00-\x1f\x7f]")
_ENCODED = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")
_UNSAFE = re.compile(rb"[^0-9A-Za-z\-._~]")


def key_of_topic(topic: str) -> str:
    """The key that messages to ``topic`` travel by."""
    if _SPECIAL.search(topic) is None and "//" not in topic and topic[:1] != "/" and topic[-1:] != "/":
        return topic.replace("/", ".")
    return ".".join(map(_word, topic.split("/")))


def key_of_pattern(pattern: str) -> str:
    """The key that a subscription to ``pattern`` is bound with."""
    return ".".join(_WILD.get(level) or _word(level) for level in pattern.split("/"))


def topic_of_key(key: str) -> str:
    """The topic whose key this is. A key that was not made here is read as well as it can be."""
    return "/".join("" if word == "%" else unquote(word) for word in key.split("."))


_WILD = {"+": "*", "#": "#"}


def _word(level: str) -> str:
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", level) if level else "%"


def quote(text: str) -> str:
    """``text`` as one segment of a path (RFC 3986): all but letters, digits and ``-._~`` percent-encoded."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode("ascii")


def unquote(text: str) -> str:
    """Undo :func:`quote`; what is not valid stays as it is."""
    if "%" not in text:
        return text
    return _ENCODED.sub(lambda found: _decoded(found[0]), text)


def _decoded(encoded: str) -> str:
    try:
        return bytes.fromhex(encoded.replace("%", "")).decode()
    except UnicodeDecodeError:
        return encoded
