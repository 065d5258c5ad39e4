"""Bytes that wait for the socket, and dispositions in ranges."""

from __future__ import annotations

from amqp.raw import frames_of
from mqlight.amqp.output import CHUNK, Output

STATE, OTHER = b"\x00\x53\x24\x45", b"\x00\x53\x26\x45"


def ranges(output: Output) -> list[list[object]]:
    return [fields[1:4] for _, fields in frames_of(output.take())]


def test_dispositions_of_one_state_in_a_row_are_one_range() -> None:
    output = Output()
    for number in (3, 4, 5, 7):
        output.add_disposition(0, number, STATE, True)
    assert ranges(output) == [[3, 5, True], [7, None, True]]


def test_another_state_session_or_settlement_begins_another_range() -> None:
    output = Output()
    output.add_disposition(0, 1, STATE, True)
    output.add_disposition(0, 2, OTHER, True)
    output.add_disposition(1, 3, OTHER, True)
    output.add_disposition(1, 4, OTHER, False)
    assert ranges(output) == [[1, None, True], [2, None, True], [3, None, True], [4, None, False]]


def test_what_was_not_sent_is_given_again_and_counted() -> None:
    output = Output()
    output.write(b"x" * (CHUNK + 10))
    assert len(output.take()) == CHUNK
    output.sent(CHUNK - 5)
    assert (output.size, output.take()) == (15, b"x" * 15)
    output.sent(15)
    assert (output.size, output.take()) == (0, b"")


def test_nothing_follows_a_close() -> None:
    output = Output()
    output.closed = True
    output.write(b"x")
    assert (output.size, output.take()) == (0, b"")
