"""The reasons why a message was not delivered, as text: a closed list of causes, each with a remedy.

Pure: it examines a story and the present state of the broker.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

from mqlight.amqp.topics import matches
from mqlight.amqp.types import Outcome
from mqlight.server.broker import Broker
from mqlight.server.console.history import Branch, Event, Story, client_of
from mqlight.server.destination import Consumer, Destination
from mqlight.server.limits import FULL, TOO_LARGE
from mqlight.server.links import SENDER_CREDIT, Publisher

_MOST_COMPARED = 300
"""The most patterns that are compared with a topic without subscribers, and the most characters of each."""
_LONGEST = 120


class Cause(NamedTuple):
    """The cause of a message's state. ``code`` is for programs, ``text`` and ``remedy`` are for people."""

    code: str
    text: str
    remedy: str = ""


def span(seconds: float) -> str:
    """Return a duration for people: ``0.4 s``, ``12 s``, ``3 min``, ``2 h``."""
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"


def place(destination: Destination) -> str:
    """Return the words for a destination."""
    name = destination.name
    if name.share is not None:
        return f"share {name.share}"
    if destination.temporary:
        return f"queue {name.pattern}"
    return f"subscription of {destination.owner.client_id or 'a client without an id'} to {name.pattern}"


def why(story: Story, broker: Broker, now: float) -> Cause | None:
    """Return why a message is not delivered (yet); None if it was delivered."""
    if story.outcome is Outcome.RELEASED:
        return _to_nobody(story, broker)
    if story.outcome is Outcome.REJECTED:
        return _refused(story)
    branch = next((each for each in story.branches if each.state == story.state), None)
    return None if branch is None else of_branch(branch, now)


def of_branch(branch: Branch, now: float) -> Cause | None:
    """Return why a message is not delivered (yet) in one destination; None if it was delivered."""
    if branch.state == "accepted":
        return None
    if branch.state == "held":
        return _held(branch, now)
    if branch.state == "waiting":
        return _waiting(branch, now)
    last = branch.events[-1]
    if branch.state == "rejected":
        reason = f": {last.detail}" if last.detail else ""
        remedy = "Mend the message or the receiver, and send it again."
        return Cause("rejected", f"{last.who} rejected it{reason}", remedy)
    if branch.state == "expired":
        return _expired(branch)
    return _dropped(branch, last)


def near(topic: str, broker: Broker) -> list[str]:
    """Return up to three subscription patterns that are similar to a topic."""
    patterns = dict.fromkeys(
        destination.name.pattern
        for destination in broker.destinations.values()
        if not destination.name.pattern.startswith("response/") and len(destination.name.pattern) <= _LONGEST
    )
    compared = list(patterns)[:_MOST_COMPARED]
    folded = topic.casefold()
    found = [p for p in compared if matches(p.casefold(), folded) or p.casefold().strip("/") == folded.strip("/")]
    found += [p for p in compared if matches(f"{p}/#", topic) or matches(f"#/{p}", topic)]
    found += get_close_matches(topic[:_LONGEST], compared, 3, 0.6)
    return list(dict.fromkeys(found))[:3]


def _to_nobody(story: Story, broker: Broker) -> Cause:
    born = story.history.born
    later = [
        destination
        for destination in broker.destinations.values()
        if born.get(destination.number, story.at) > story.at and matches(destination.name.pattern, story.topic)
    ]
    if later:
        first = min(later, key=lambda each: born[each.number])
        delay = span(born[first.number] - story.at)
        return Cause(
            "subscribed-later",
            f"Nobody was subscribed to this topic when it came; the {place(first)} began {delay} later",
            "Start the receiver first, or give its subscription a time to live so that it outlives the receiver.",
        )
    close = near(story.topic, broker)
    if close:
        count = "1 subscription comes" if len(close) == 1 else f"{len(close)} subscriptions come"
        return Cause(
            "nobody",
            f"Nobody is subscribed to this topic; {count} close: {', '.join(close)}",
            "Compare the topic with these patterns, level by level: upper and lower case count, and so does each /.",
        )
    remedy = f"Start a receiver whose pattern matches {story.topic}."
    return Cause("nobody", "Nobody is subscribed to this topic", remedy)


def _refused(story: Story) -> Cause:
    condition = story.condition
    text = "" if condition is None else condition.description
    if "not authorized" in text:
        doing, _, hint = text.partition("; ")
        return Cause("not-permitted", doing.replace("not authorized: 2035 ", "").capitalize(), hint)
    if condition is not None and condition.name == FULL:
        start = text[:1].upper() + text[1:]
        return Cause("full", start, "Start more receivers, purge the destination, or raise the limit that is named.")
    if condition is not None and condition.name == TOO_LARGE:
        start = text[:1].upper() + text[1:].removesuffix(" (max-message-size)")
        return Cause("too-large", start, "Send less in one message, or raise --message-size.")
    return Cause("refused", f"The server refused it: {text}", "Mend the message, and send it again.")


def _held(branch: Branch, now: float) -> Cause:
    attempt = f" (attempt {branch.attempts})" if branch.attempts > 1 else ""
    return Cause(
        "held",
        f"{branch.holder} holds it since {span(now - branch.since)} and has not settled it{attempt}",
        "Wait for the receiver, or stop it: then another one gets the message.",
    )


def _waiting(branch: Branch, now: float) -> Cause:
    destination, losses = branch.destination, sum(event.kind == "lost" for event in branch.events)
    returns = sum(event.kind in ("released", "modified", "undeliverable") for event in branch.events)
    where = place(destination)
    if not destination.consumers:
        gone = "" if destination.forget_at is None else f" since {span(now - destination.forget_at + destination.ttl)}"
        return Cause("no-member", f"The {where} has no member{gone}", "Start a receiver for it.")
    if losses > 1:
        last = next(event for event in reversed(branch.events) if event.kind == "lost")
        return Cause(
            "lost",
            f"Its receivers went away {losses} times while they held it, last {last.who}: it rests before the next try",
            "Look at the log of these receivers: the message may end them.",
        )
    if not any(consumer.credit > 0 for consumer in destination.consumers):
        return _no_credit(destination, where, now)
    if returns:
        last = branch.events[-1]
        times = "once" if returns == 1 else f"{returns} times"
        return Cause(
            "returned",
            f"It was {last.kind} {times}, last by {last.who}",
            "Look at the log of the receiver: it gives the message back.",
        )
    return Cause("behind", f"It waits in the {where} behind other messages")


def _no_credit(destination: Destination, where: str, now: float) -> Cause:
    members = destination.consumers
    since = [at for consumer in members if (at := oldest(consumer)) is not None]
    busy = f"{len(members)} members are busy" if len(members) > 1 else f"{client_of(members[0])} is busy"
    long = f" since {span(now - min(since))}" if since else ""
    holding = sum(consumer.holds for consumer in members)
    hand = "1 message" if holding == 1 else f"{holding} messages"
    return Cause(
        "no-credit",
        f"No member of the {where} has credit: {busy}{long}, with {hand} in hand"
        if holding
        else f"No member of the {where} has credit: {len(members)} connected, and none asks for messages",
        "Start another member, or have the members take more messages at a time.",
    )


def of_sender(link: Publisher) -> Cause | None:
    """Return why the client at a link may not send at the moment; None if it may."""
    if link.link.credit > 0:
        return None
    name, topic = link.client.client_id or link.client.address, link.topic or "any topic"
    return Cause(
        "sender-no-credit",
        f"{name} has no credit to send to {topic}: its last {SENDER_CREDIT} messages are not on the disk yet",
        "Wait for the store. If this lasts, the disk is too slow for what is sent.",
    )


def oldest(consumer: Consumer) -> float | None:
    """Return when a consumer was given its oldest unsettled message; None if that was not recorded."""
    times = [
        message.trace.since
        for message in consumer.held()
        if isinstance(message.trace, Branch) and message.trace.state == "held"
    ]
    return min(times, default=None)


def _expired(branch: Branch) -> Cause:
    story, last = branch.story, next((e for e in reversed(branch.events) if e.kind == "given"), None)
    life = "Its time to live" if story.ttl is None else f"Its time to live of {span(story.ttl / 1000)}"
    where = place(branch.destination)
    how = f"while it waited in the {where}" if last is None else f"after {last.who} had held it and not settled it"
    return Cause("expired", f"{life} ran out {how}", "Start more receivers, or send it with a longer time to live.")


def _dropped(branch: Branch, last: Event) -> Cause:
    where = place(branch.destination)
    if last.detail == "full":
        return Cause("full", f"The {where} was full, and at most once means that it is dropped", "Receive faster.")
    if last.detail == "purged":
        return Cause("purged", f"It was purged from the {where} by hand")
    lost = next((event for event in branch.events if event.kind == "lost"), None)
    if lost is not None:
        return Cause(
            "connection-lost",
            f"{lost.who} lost its connection with it in hand, and its subscription ended with it",
            "Give the subscription a time to live, or a share: then the message waits for another receiver.",
        )
    remedy = "Give the subscription a longer time to live."
    return Cause("forgotten", f"The {where} ended before it was delivered", remedy)
