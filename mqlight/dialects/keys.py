"""Translate topics into keys, the words with dots of RabbitMQ and Artemis, and keys into topics.

The rules of this file:

* A level of a topic is a word of a key: ``a/b`` is ``a.b``. Inside a level, ``%`` and the characters that are special
  to either broker are percent-encoded. An empty level is the word ``%``, and no other level is.
* In a pattern the level ``+`` is the word ``*``, and ``#`` stays ``#``. Both brokers give them MQ Light's meaning.
* :func:`topic_of_key` undoes :func:`key_of_topic` for every topic.
"""

from __future__ import annotations

import re

_SPECIAL = re.compile(r"[%.*#:?|,&=\x00-\x1f\x7f]")
_ENCODED = re.compile(r"((?:%[0-9A-Fa-f]{2})+)")
_UNSAFE = re.compile(rb"[^0-9A-Za-z\-._~]")


def key_of_topic(topic: str) -> str:
    """Return the key of messages to ``topic``."""
    if _SPECIAL.search(topic) is None and "//" not in topic and topic[:1] != "/" and topic[-1:] != "/":
        return topic.replace("/", ".")
    return ".".join(map(_word, topic.split("/")))


def key_of_pattern(pattern: str) -> str:
    """Return the binding key of a subscription to ``pattern``."""
    return ".".join(_WILD.get(level) or _word(level) for level in pattern.split("/"))


def topic_of_key(key: str) -> str:
    """Return the topic of a key. In a key from elsewhere, text that is not valid encoding stays as it is."""
    return "/".join("" if word == "%" else unquote(word) for word in key.split("."))


_WILD = {"+": "*", "#": "#"}


def _word(level: str) -> str:
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", level) if level else "%"


def quote(text: str) -> str:
    """Return ``text`` as one segment of a path (RFC 3986): all but letters, digits and ``-._~`` percent-encoded."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], text.encode()).decode("ascii")


def unquote(text: str) -> str:
    """Undo :func:`quote`. Parts that are not valid encoding stay as they are."""
    if "%" not in text:
        return text
    return _ENCODED.sub(lambda found: _decoded(found[0]), text)


def _decoded(encoded: str) -> str:
    try:
        return bytes.fromhex(encoded.replace("%", "")).decode()
    except UnicodeDecodeError:
        return encoded
