"""The targets of fuzzing: functions that return for any bytes, and raise if a promise is broken.

They use public entry points only. hypothesis, the replay of the corpus and atheris share them (test_fuzz.py, run.py).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any
from uuid import UUID

from fuzz.peers import Application, Host, hear, serve, session_of
from macaque.envelope import (
    BadReply,
    BadRequest,
    Fault,
    decode_reply,
    decode_request,
    encode_fault,
    encode_reply,
)
from mqlight.amqp import codec
from mqlight.amqp.codec import CodecError
from mqlight.amqp.fast_messages import text_body
from mqlight.amqp.message import MessageError, decode, encode, header
from mqlight.amqp.topics import PatternMap, TopicError, matches, validate_pattern, validate_topic
from mqlight.server.publication import Publication, read_publication
from mqlight.server.sasl import MOST, SaslServer

__all__ = ["TARGETS", "cut"]

MOST_READ = 8192
SECRET = "s3cr3t-w0rd"


def cut(data: bytes, random: Random) -> list[bytes]:
    """``data`` as a socket might give it: whole, in frames' sizes, its beginning byte by byte."""
    sizes = random.choice(((MOST_READ,), (100, 300), (1,), (7, 50), (1, 8, 9, 40, 200, 2000)))
    found, at = [], 0
    while at < len(data):
        size = random.choice(sizes) if len(found) < 40 else MOST_READ
        found.append(data[at : at + size])
        at += size
    return found


def sasl(data: bytes) -> None:
    """The first byte says how the rest is cut; however it is, the exchange ends alike."""
    random, data = Random(data[:1]), data[1:]
    whole, parted = (SaslServer(lambda identity: identity.password in (None, "right")) for _ in range(2))
    answers = whole.receive(data), b"".join(parted.receive(piece) for piece in cut(data, random))
    assert (whole.finished, whole.identity) == (parted.finished, parted.identity)
    assert (whole.failed is None) == (parted.failed is None)
    assert answers[0] == answers[1]
    assert not (whole.finished and whole.failed)
    assert whole.finished or whole.failed or len(data) < MOST + 8, "it takes more than a frame, and does not say no"
    if whole.identity is not None:
        assert whole.identity.password in (None, "right") and data.endswith(whole.rest)
    for text in (whole.failed or "", repr(whole.identity)):
        assert SECRET not in text and len(text) < MOST * 5


def value(data: bytes) -> None:
    """One AMQP value, or no value: CodecError says what is wrong, and what was read can be written and read again."""
    try:
        read = codec.decode(data)
    except CodecError as error:
        assert len(str(error)) < 500
    else:
        assert codec.skip(data, 0, len(data)) == len(data)
        again = codec.encode(read)
        assert codec.encode(codec.decode(again)) == again
    try:
        assert 0 < codec.skip(data, 0, len(data)) <= len(data)
    except CodecError as error:
        assert len(str(error)) < 500


def message(data: bytes) -> None:
    """A message at a client (``decode``) and at the server's door (``admit``)."""
    read = None
    try:
        read = decode(data)
    except MessageError as error:
        assert len(str(error)) < 500
    else:
        with suppress(MessageError):  # strangers may put a list among the application properties; we do not
            assert repr(decode(encode(read))) == repr(read)
    text = text_body(data)
    if text is not None and read is not None:
        assert isinstance(read.body, str) and read.body.encode() == text
    for topic in ("t", None):
        try:
            publication = read_publication(data, topic)
        except MessageError as error:
            assert len(str(error)) < 500
        else:
            _admitted(data, topic, publication)
            if read is not None:
                assert publication.topic == topic if topic else publication.topic, read
                passed = decode(
                    header(publication.ttl, publication.delivery_count, publication.durable) + publication.rest
                )
                assert repr(passed.body) == repr("" if not _has_body(data) else read.body)
                assert passed.to and (passed.to == read.to or read.to is None)
                assert passed.message_id == read.message_id and repr(passed.properties) == repr(read.properties)


def _admitted(data: bytes, topic: str | None, publication: Publication) -> None:
    validate_topic(publication.topic)
    assert len(publication.rest) <= len(data) + 2 * len(publication.topic.encode()) + 40
    assert read_publication(publication.rest, topic) == Publication(
        publication.topic, None, False, 0, 4, publication.rest
    )


def _has_body(data: bytes) -> bool:
    """Whether there is a body section at all: ``decode`` reads none as None, ``admit`` makes it the empty text."""
    at = 0
    while at < len(data):
        descriptor, at = codec.read(data, at + 1, len(data))
        if descriptor in (0x75, 0x76, 0x77, "amqp:data:binary", "amqp:amqp-sequence:list", "amqp:amqp-value:*"):
            return True
        at = codec.skip(data, at, len(data))
    return False


def topics(data: bytes) -> None:
    """Lines: the first is a topic, the others are patterns."""
    topic, *patterns = data.decode("utf-8", "surrogateescape").split("\n")
    try:
        validate_topic(topic)
    except TopicError as error:
        assert len(str(error)) < 1000
        return
    found: PatternMap[int] = PatternMap()
    taken = []
    for place, pattern in enumerate(patterns):
        try:
            validate_pattern(pattern)
        except TopicError as error:
            assert len(str(error)) < 1000
        else:
            found.add(pattern, place)
            taken.append((pattern, place))
    assert sorted(found.find(topic)) == [place for pattern, place in taken if matches(pattern, topic)]
    for pattern, place in taken:
        found.remove(pattern, place)
    assert found.find(topic) == ()


def envelope(data: bytes) -> None:
    """A request from a stranger, or a reply: taken, answered, or refused."""
    try:
        request = decode_request(data)
    except BadRequest as error:
        assert len(str(error)) < 1000
    else:
        assert isinstance(request.uuid, str)
        if request.reply_to is not None:
            try:
                asked = request.data
            except (ValueError, RecursionError):  # its caller is told
                asked = None
            decode(encode_reply(request, asked if _is_json(asked) else {"ok": True}))
            decode(encode_fault(request, Fault(500, "wrong", details=[1])))
    try:
        reply = decode_reply(data)
    except BadReply as error:
        assert len(str(error)) < 1000
    else:
        assert isinstance(reply.uuid, str)
        if reply.error is not None:
            assert str(reply.error.exception())


def _is_json(data: Any) -> bool:
    if isinstance(data, dict):
        return all(type(key) is str and _is_json(item) for key, item in data.items())
    if isinstance(data, list):
        return all(map(_is_json, data))
    return data is None or type(data) in (str, bool, int, float, UUID)


def engine_server(data: bytes) -> None:
    """The server's engine; the first byte says what its owner does meanwhile, and how the rest is cut."""
    random = Random(data[:1])
    hear(Host(server=True, random=random), cut(data[1:], random))


def engine_client(data: bytes) -> None:
    """A client's engine, as ``engine_server``."""
    random = Random(data[:1])
    hear(Host(server=False, random=random), cut(data[1:], random))


def server(data: bytes) -> None:
    """A client of the whole server, with the broker behind it and an honest client beside it."""
    random = Random(data[:1])
    serve(cut(data[1:], random), random)


def session(data: bytes) -> None:
    """A client's session with a server that says anything."""
    random = Random(data[:1])
    session_of(Application(random), cut(data[1:], random))


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (sasl, value, message, topics, envelope, engine_server, engine_client, server, session)
}
