"""The checks of the MQ Light API: what is taken, and the exact words for what is not."""

from __future__ import annotations

import asyncio
import functools
import re

import pytest

from mqlight import arguments
from mqlight.errors import InvalidArgumentError, RangeError


def refusal(check, *given):
    """The class and text of the error that a check raises."""
    with pytest.raises((TypeError, InvalidArgumentError, RangeError)) as caught:
        check(*given)
    return type(caught.value), str(caught.value)


# Client ids


@pytest.mark.parametrize("value", ["a", "x" * 256, "A.b/c%D_9", "AUTO_1234567"])
def test_a_client_id_of_the_allowed_characters_is_taken(value):
    assert arguments.client_id(value) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("a:b", "the client id a:b has the character ':'; use letters, digits and % / . _"),
        ("naïve", "the client id naïve has the character 'ï'; use letters, digits and % / . _"),
        ("a-b", "the client id a-b has the character '-'; use letters, digits and % / . _"),
        ("a\n", "the client id a\\n has the character '\\\\n'; use letters, digits and % / . _"),
        ("x" * 257, f"the client id {'x' * 77}... has 257 characters; give at most 256"),
        ("", "the client id is empty; give 1 to 256 characters"),
    ],
)
def test_another_client_id_is_refused(value, message):
    assert refusal(arguments.client_id, value) == (InvalidArgumentError, message)


def test_a_client_id_that_is_no_text_is_a_type_error():
    assert refusal(arguments.client_id, 7) == (TypeError, "the client id is of type int; give a str")


def test_a_generated_client_id_is_auto_and_seven_hexadecimal_digits():
    assert arguments.auto_client_id(0) == "AUTO_0000000"
    assert arguments.auto_client_id(0x1ABCDEF01) == "AUTO_bcdef01"
    assert re.fullmatch("AUTO_[0-9a-f]{7}", arguments.auto_client_id(2**64 - 1))
    assert arguments.client_id(arguments.auto_client_id(123)) == "AUTO_000007b"


# Topics, patterns and shares


@pytest.mark.parametrize("value", ["t", "/", " ", "a//b", "t/#", "+/x", "日本/…", "a:b", "amqp://h/t"])
def test_any_text_is_a_topic_and_a_pattern(value):
    assert arguments.topic(value) == value
    assert arguments.topic_pattern(value) == value


@pytest.mark.parametrize("check", [arguments.topic, arguments.topic_pattern])
@pytest.mark.parametrize(
    ("value", "fault"),
    [("", "is empty; give at least one character"), (None, "is of type NoneType; give a str")],
)
def test_an_empty_topic_or_pattern_is_refused(check, value, fault):
    assert refusal(check, value) == (InvalidArgumentError, f"{check.__name__} {fault}")


def test_a_topic_or_pattern_that_is_no_text_is_refused_by_its_type():
    message = "topic_pattern is of type int; give a str"
    assert refusal(arguments.topic_pattern, 7) == (InvalidArgumentError, message)
    message = "topic is of type bytes; give a str"
    assert refusal(arguments.topic, b"t") == (InvalidArgumentError, message)


@pytest.mark.parametrize("check", [arguments.topic, arguments.topic_pattern, arguments.share])
def test_text_that_utf_8_cannot_carry_is_refused(check):
    kind, message = refusal(check, "a\ud800")
    assert kind is InvalidArgumentError
    assert message.endswith("has half of a surrogate pair at 1; give text that UTF-8 can encode")


def test_a_share_is_a_name_and_the_empty_one_means_private():
    assert arguments.share("workers") == "workers"
    assert arguments.share("") is None
    assert arguments.share(None) is None


def test_a_share_with_a_colon_or_of_another_type_is_refused():
    message = "share 'a:b' has a colon; give a name without one"
    assert refusal(arguments.share, "a:b") == (InvalidArgumentError, message)
    message = "share is of type int; give a str or None"
    assert refusal(arguments.share, 5) == (InvalidArgumentError, message)


# What is sent


@pytest.mark.parametrize("value", ["", "x", b"", b"x", bytearray(b"x"), 0, False, [], {}, {"a": 1}])
def test_data_may_be_anything_but_nothing(value):
    arguments.data(value)


def test_nothing_and_functions_are_no_data():
    advice = "give text, bytes, or a value that JSON can represent"
    assert refusal(arguments.data, None) == (TypeError, f"data is None; {advice}")
    assert refusal(arguments.data, print) == (TypeError, f"data is a function; {advice}")


# Options


def test_options_that_are_not_given_have_the_defaults_of_mq_light():
    assert arguments.send_options(None, None) == (0, None)
    assert arguments.send_options({}, None) == (0, None)
    assert arguments.subscribe_options(None) == (0, True, 0, 1024)
    assert arguments.unsubscribe_options(None) is None


def test_send_takes_the_whole_range_and_ignores_other_names():
    assert arguments.send_options({"qos": 1, "ttl": 1, "colour": "red"}, print) == (1, 1)
    assert arguments.send_options({"qos": 0, "ttl": 2592000000}, None) == (0, 2592000000)
    assert arguments.send_options({"ttl": None}, None) == (0, None)


QOS = "give 0 (at most once) or 1 (at least once)"
TTL = "give a whole number of milliseconds from 1 to 2592000000"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"qos": 2}, RangeError, f"options['qos'] is 2; {QOS}"),
        ({"qos": "1"}, RangeError, f"options['qos'] is '1'; {QOS}"),
        ({"qos": None}, RangeError, f"options['qos'] is None; {QOS}"),
        ({"ttl": 0}, RangeError, f"options['ttl'] is 0; {TTL}"),
        ({"ttl": -5}, RangeError, f"options['ttl'] is -5; {TTL}"),
        ({"ttl": 1.5}, RangeError, f"options['ttl'] is 1.5; {TTL}"),
        ({"ttl": "9"}, RangeError, f"options['ttl'] is '9'; {TTL}"),
        ({"ttl": True}, RangeError, f"options['ttl'] is True; {TTL}"),
        ({"ttl": 2592000001}, RangeError, f"options['ttl'] is 2592000001; {TTL}"),
        ([], TypeError, "options is of type list; give a dict"),
        (
            {"qos": 1},
            InvalidArgumentError,
            "on_sent is None, and options['qos'] is 1; give a function that takes the outcome",
        ),
    ],
)
def test_other_options_of_send_are_refused(options, kind, message):
    assert refusal(arguments.send_options, options, None) == (kind, message)


def test_subscribe_takes_the_whole_range_and_caps_the_time_to_live():
    options = {"qos": 1, "auto_confirm": False, "ttl": 5000, "credit": 0}
    assert arguments.subscribe_options(options) == (1, False, 5000, 0)
    assert arguments.subscribe_options({"auto_confirm": 1, "credit": 2**32 - 1}).credit == 2**32 - 1
    assert arguments.subscribe_options({"ttl": 10**12}).ttl == 2**32 - 1


MILLISECONDS = "give a whole number of milliseconds, 0 or more"
MESSAGES = "give a whole number of messages from 0 to 4294967295"


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"qos": 2}, RangeError, f"options['qos'] is 2; {QOS}"),
        ({"ttl": -1}, RangeError, f"options['ttl'] is -1; {MILLISECONDS}"),
        ({"ttl": 1.0}, RangeError, f"options['ttl'] is 1.0; {MILLISECONDS}"),
        ({"credit": -1}, RangeError, f"options['credit'] is -1; {MESSAGES}"),
        ({"credit": "x"}, RangeError, f"options['credit'] is 'x'; {MESSAGES}"),
        ({"credit": 2**32}, RangeError, f"options['credit'] is {2**32}; {MESSAGES}"),
        (
            {"auto_confirm": "x"},
            TypeError,
            "options['auto_confirm'] is 'x'; give True or False",
        ),
        ("x", TypeError, "options is of type str; give a dict"),
    ],
)
def test_other_options_of_subscribe_are_refused(options, kind, message):
    assert refusal(arguments.subscribe_options, options) == (kind, message)


def test_unsubscribe_takes_the_time_to_live_nought_and_no_other():
    assert arguments.unsubscribe_options({"ttl": 0}) == 0
    message = "options['ttl'] is 5; give 0, which deletes the destination, or leave it out"
    assert refusal(arguments.unsubscribe_options, {"ttl": 5}) == (RangeError, message)
    message = "options is of type int; give a dict"
    assert refusal(arguments.unsubscribe_options, 5) == (TypeError, message)


def test_an_error_names_its_argument_and_value_for_programs():
    with pytest.raises(RangeError) as caught:
        arguments.send_options({"ttl": -5}, None)
    assert (caught.value.argument, caught.value.value) == ("ttl", -5)


# Functions


class Listener:
    def on_two(self, one, two):
        pass

    def __call__(self, one, two):
        pass


def two(one, other):
    pass


def many(*args):
    pass


def optional(one, other, third=None):
    pass


def needing(one, *others, more):
    pass


@pytest.mark.parametrize(
    "function",
    [
        two,
        many,
        optional,
        Listener().on_two,
        Listener(),
        functools.partial(optional, None),
        lambda one, other: None,
        lambda one, *others, more=None: None,
        max,  # written in C: Python does not know what it takes
        type,
    ],
)
def test_a_function_that_can_be_called_so_is_taken(function):
    assert arguments.callback("on_stopped", function, 2) is function


def test_no_function_is_taken_as_none():
    assert arguments.callback("on_sent", None, 5) is None


def test_what_is_no_function_is_refused():
    assert refusal(arguments.callback, "on_sent", "x", 5) == (TypeError, "on_sent is of type str; give a function")
    for function, kind in (asyncio.sleep, "async"), ((lambda message: (yield)), "a generator"):
        said = f"on_sent is {kind}, so a call would not run it; give a plain function"
        assert refusal(arguments.callback, "on_sent", function, 1) == (TypeError, said)


@pytest.mark.parametrize(
    ("function", "shown"),
    [
        (two, "two(one, other)"),
        (optional, "optional(one, other, third)"),
        (Listener().on_two, "on_two(one, two)"),
        (Listener(), "Listener(one, two)"),
        (needing, "needing(one, others, more)"),
    ],
)
def test_a_function_with_another_number_of_arguments_is_refused(function, shown):
    message = f"on_sent is {shown}; give a function that takes 5 arguments"
    assert refusal(arguments.callback, "on_sent", function, 5) == (TypeError, message)


@pytest.mark.parametrize("check", [arguments.topic, arguments.topic_pattern, arguments.share])
@pytest.mark.parametrize("character", ["\0", "\n", "\x1b", "\x9b"])
def test_a_control_character_in_a_name_is_refused_by_name(check, character):
    _, message = refusal(check, f"a{character}b")
    assert message.endswith(f"has the control character U+00{ord(character):02X} at 1; remove it")
