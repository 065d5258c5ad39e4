from __future__ import annotations

from amqp.pair import Pair
from mqlight.subscription import MOST_CREDIT, Subscription


def subscription(credit: int = 10, share: str | None = None) -> Subscription:
    return Subscription("a/#", share, qos=1, ttl=0, credit=credit, on_message=lambda *message: None, on_subscribed=None)


def test_its_address_is_mq_lights() -> None:
    assert subscription().address == "private:a/#"
    assert subscription(share="s").address == "share:s:a/#" and "share:s:a/#" in repr(subscription(share="s"))


def test_credit_is_given_in_lots_and_never_more_than_there_is_room_for() -> None:
    pair = Pair()
    made = subscription()
    ours, theirs = pair.receiver(credit=0)
    made.link = ours
    made.top_up()
    pair.pump()
    assert (made.granted, theirs.credit) == (10, 10)
    made.granted, made.held = 6, 3
    made.top_up()
    assert made.granted == 6, "one message is no lot"
    made.granted, made.held = 3, 1
    made.top_up()
    assert made.granted == 9


def test_a_paused_one_takes_its_credit_back_and_gives_none() -> None:
    pair = Pair()
    made = subscription()
    ours, theirs = pair.receiver(credit=0)
    made.link = ours
    made.top_up()
    pair.pump()
    made.pause()
    pair.pump()
    theirs.drain_answered()
    pair.pump()
    assert theirs.credit == ours.credit == 0
    made.granted = 0
    made.top_up()
    assert made.granted == 0


def test_without_a_link_there_is_no_credit_to_give_and_it_is_not_ready() -> None:
    made = subscription()
    made.top_up()
    made.pause()
    assert made.granted == 0 and not made.ready


def test_more_credit_than_amqp_counts_is_cut() -> None:
    assert subscription(credit=2**40).credit == MOST_CREDIT
