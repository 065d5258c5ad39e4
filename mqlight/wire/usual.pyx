# cython: language_level=3, boundscheck=False, wraparound=False
"""The usual form of a message, compiled: nearly every message has it, and what has not goes the long way.

It is a header that says nothing or a time to live, or none; properties in their short form; and a string or binary as
amqp-value (AMQP 1.0 section 3.2). What RabbitMQ gives out is read as well: it fills in the header and adds annotations. The functions here do what :mod:`mqlight.wire.message` and
:mod:`mqlight.wire.admission` do for it, byte for byte, at a fraction of the cost. Bytes come from strangers: no
function looks beyond their end, and each returns None for what it does not know.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcmp, memcpy

from mqlight.wire.sections import PLAIN_HEADER, TTL_HEADER, TTL_HEADER_END

cdef bytes plain_header = PLAIN_HEADER, ttl_header = TTL_HEADER, ttl_end = TTL_HEADER_END
cdef const char *TEXT_PLAIN = b"\xa3\x0atext/plain"
cdef enum:
    PLAIN_SIZE = 12
    TTL_AT = 10
    TTL_SIZE = 16
    TEXT_PLAIN_SIZE = 12
    FIELDS = 7
    STRING8 = 0xa1
    STRING32 = 0xb1
    BINARY8 = 0xa0
    BINARY32 = 0xb0
    NULL_VALUE = 0x40
assert len(plain_header) == PLAIN_SIZE and len(ttl_header) == TTL_AT and len(ttl_end) == TTL_SIZE - TTL_AT - 4


cdef inline uint32_t number(const uint8_t *at) noexcept:
    return (<uint32_t>at[0] << 24) | (<uint32_t>at[1] << 16) | (<uint32_t>at[2] << 8) | at[3]


cdef inline char *put_number(char *at, uint32_t value) noexcept:
    at[0], at[1], at[2], at[3] = <char>(value >> 24), <char>(value >> 16), <char>(value >> 8), <char>value
    return at + 4


cdef inline char *put_string(char *at, const char *text, Py_ssize_t size) noexcept:
    if text == NULL:
        at[0] = NULL_VALUE
        return at + 1
    if size < 256:
        at[0], at[1] = <char>STRING8, <char>size
        at += 2
    else:
        at[0] = <char>STRING32
        at = put_number(at + 1, <uint32_t>size)
    memcpy(at, text, size)
    return at + size


cdef inline Py_ssize_t space(const char *text, Py_ssize_t size) noexcept:
    return 1 if text == NULL else size + (2 if size < 256 else 5)


def text_message(
    bytes body not None,
    str to,
    str message_id,
    str reply_to,
    str correlation_id,
    int64_t ttl=-1,
) -> bytes:
    """The message of type ``text/plain`` whose ``body`` is UTF-8 already; ``ttl`` in ms, -1 for none.

    :raises UnicodeEncodeError: a text has lone surrogates. :raises OverflowError: the ttl is not below 2**32, or the
        body is not below 2 GiB.
    """
    cdef const char *texts[4]
    cdef Py_ssize_t sizes[4]
    cdef Py_ssize_t fields = 0, size = PyBytes_GET_SIZE(body), head = 0
    cdef int i
    if ttl >= 0x100000000 or size >= 0x7fffff00:
        raise OverflowError("the ttl is 2**32 ms or more, or the body 2 GiB or more")
    for i, text in enumerate((message_id, to, reply_to, correlation_id)):
        texts[i], sizes[i] = NULL, 0
        if text is not None:
            texts[i] = PyUnicode_AsUTF8AndSize(text, &sizes[i])
            if sizes[i] >= 0x1000000:
                raise OverflowError("an address or id is 16 MiB or more")
        fields += space(texts[i], sizes[i])
    fields += 2 + TEXT_PLAIN_SIZE  # no user-id and no subject
    if ttl >= 0:
        head = TTL_SIZE
    cdef bint wide = fields >= 255
    cdef bytes message = PyBytes_FromStringAndSize(
        NULL, head + 4 + (8 if wide else 2) + fields + 3 + (2 if size < 256 else 5) + size
    )
    cdef char *at = PyBytes_AS_STRING(message)
    if head:
        memcpy(at, PyBytes_AS_STRING(ttl_header), TTL_AT)
        at = put_number(at + TTL_AT, <uint32_t>ttl)
        memcpy(at, PyBytes_AS_STRING(ttl_end), TTL_SIZE - TTL_AT - 4)
        at += TTL_SIZE - TTL_AT - 4
    at[0], at[1], at[2] = 0, 0x53, 0x73
    if wide:
        at[3] = <char>0xd0
        at = put_number(put_number(at + 4, <uint32_t>fields + 4), FIELDS)
    else:
        at[3], at[4], at[5] = <char>0xc0, <char>(fields + 1), FIELDS
        at += 6
    at = put_string(at, texts[0], sizes[0])
    at = put_string(at, NULL, 0)
    at = put_string(at, texts[1], sizes[1])
    at = put_string(at, NULL, 0)
    at = put_string(at, texts[2], sizes[2])
    at = put_string(at, texts[3], sizes[3])
    memcpy(at, TEXT_PLAIN, TEXT_PLAIN_SIZE)
    at += TEXT_PLAIN_SIZE
    at[0], at[1], at[2] = 0, 0x53, 0x77
    put_string(at + 3, PyBytes_AS_STRING(body), size)
    return message


cdef Py_ssize_t skip_header(const uint8_t *data, Py_ssize_t size, int64_t *ttl) noexcept:
    """Where the sections behind the header begin; ``ttl`` is left alone where there is none."""
    if size >= TTL_SIZE and not memcmp(data, PyBytes_AS_STRING(ttl_header), TTL_AT):
        if not memcmp(data + TTL_AT + 4, PyBytes_AS_STRING(ttl_end), TTL_SIZE - TTL_AT - 4):
            ttl[0] = number(data + TTL_AT)
            return TTL_SIZE
    if size >= PLAIN_SIZE and not memcmp(data, PyBytes_AS_STRING(plain_header), PLAIN_SIZE):
        return PLAIN_SIZE
    return 0


cdef inline bint is_boolean(uint8_t code) noexcept:
    return code == 0x41 or code == 0x42 or code == NULL_VALUE


cdef Py_ssize_t skip_first_header(const uint8_t *data, Py_ssize_t size) noexcept:
    """Where the sections behind a header of all five fields begin, if it is of a message that was never given out in
    vain; else 0.
    """
    cdef Py_ssize_t stop, at = 7
    if size < 11 or data[0] != 0 or data[1] != 0x53 or data[2] != 0x70 or data[3] != 0xc0 or data[5] != 5:
        return 0
    stop = 5 + data[4]
    if stop > size or stop < 11 or not is_boolean(data[6]):
        return 0
    if data[at] == 0x50:  # a priority
        at += 2
    elif data[at] == NULL_VALUE:
        at += 1
    else:
        return 0
    if data[at] == 0x70:  # a time to live
        at += 5
    elif data[at] == NULL_VALUE:
        at += 1
    else:
        return 0
    return stop if at + 2 == stop and is_boolean(data[at]) and data[at + 1] == 0x43 else 0


cdef Py_ssize_t skip_annotations(const uint8_t *data, Py_ssize_t size, Py_ssize_t at) noexcept:
    """Where the section behind the message-annotations at ``at`` begins, if they are short symbols and strings; else
    ``at``.
    """
    cdef Py_ssize_t stop, place
    cdef int item
    if at + 6 > size or data[at] != 0 or data[at + 1] != 0x53 or data[at + 2] != 0x72 or data[at + 3] != 0xc1:
        return at
    stop, place = at + 5 + data[at + 4], at + 6
    if stop > size or data[at + 5] & 1:
        return at
    for item in range(data[at + 5]):
        if place + 2 > stop or data[place] != (STRING8 if item & 1 else 0xa3):
            return at
        place += 2 + data[place + 1]
    return stop if place == stop else at


def is_first_delivery(bytes data not None) -> bool:
    """Whether a message begins with a header of the usual length that says it was never given out in vain."""
    return skip_first_header(<const uint8_t *>PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data)) > 0


cdef Py_ssize_t body_at(const uint8_t *data, Py_ssize_t size, Py_ssize_t at) noexcept:
    """Where the content of the amqp-value at ``at`` begins, if it is one string or binary that ends the message; else
    -1.
    """
    cdef Py_ssize_t start
    if at + 5 > size or data[at] != 0 or data[at + 1] != 0x53 or data[at + 2] != 0x77:
        return -1
    if data[at + 3] == STRING8 or data[at + 3] == BINARY8:
        start = at + 5
        return start if start + data[at + 4] == size else -1
    if data[at + 3] == STRING32 or data[at + 3] == BINARY32:
        start = at + 8
        return start if start <= size and start + <Py_ssize_t>number(data + at + 4) == size else -1
    return -1


cdef inline bint has_short_properties(const uint8_t *data, Py_ssize_t size, Py_ssize_t at) noexcept:
    """Whether a properties section in its short form is at ``at``, and whole."""
    return (
        at + 6 <= size
        and data[at] == 0
        and data[at + 1] == 0x53
        and data[at + 2] == 0x73
        and data[at + 3] == 0xc0
        and at + 5 + data[at + 4] <= size
    )


def text_body(bytes data not None) -> bytes | None:
    """The UTF-8 of the body of a message of the usual form, or of RabbitMQ's, whose body is a string."""
    cdef const uint8_t *raw = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), at, start
    at = skip_annotations(raw, size, skip_first_header(raw, size))
    if has_short_properties(raw, size, at):
        at += 5 + raw[at + 4]
    start = body_at(raw, size, at)
    if start < 0 or not raw[at + 3] & 1:
        return None
    return PyBytes_FromStringAndSize(<const char *>raw + start, size - start)


def address_and_rest(bytes data not None) -> tuple[bytes, int, bytes] | None:
    """Of a message of the usual form with a ``to``: its UTF-8, the ttl (0 where there is none), and all sections but the
    header.
    """
    cdef const uint8_t *raw = <const uint8_t *>PyBytes_AS_STRING(data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(data), first, stop, at
    cdef int64_t ttl = 0
    cdef int field
    first = skip_header(raw, size, &ttl)
    if not has_short_properties(raw, size, first):
        return None
    stop = first + 5 + raw[first + 4]
    if not 2 < raw[first + 5] < 14 or body_at(raw, size, stop) < 0:
        return None
    at = first + 6
    for field in range(2):  # message-id and user-id
        if at + 2 > stop:
            return None
        if raw[at] == NULL_VALUE:
            at += 1
        elif raw[at] == STRING8 or raw[at] == BINARY8:
            at += 2 + raw[at + 1]
        else:
            return None
    if at + 2 > stop or raw[at] != STRING8 or at + 2 + raw[at + 1] > stop:
        return None
    to = PyBytes_FromStringAndSize(<const char *>raw + at + 2, raw[at + 1])
    rest = data if not first else PyBytes_FromStringAndSize(<const char *>raw + first, size - first)
    return to, ttl, rest
