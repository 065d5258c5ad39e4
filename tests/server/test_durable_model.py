"""The broker with its store against a model: whatever happens, and whenever it crashes, what was promised is kept."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mqlight.amqp.topics import matches
from mqlight.amqp.types import Outcome
from mqlight.server.journal import Batch
from server.world import Client, DurableWorld

PATTERNS = ["a", "b", "+"]
FOR_EVER = 1e6
NUMBER = st.integers(0, 99)

Copy = tuple[str, str]
"""The pattern of a destination, and the body of a message in it."""

# A message that a consumer cannot deliver waits beside the others: see test_broker.py.
WAITED_FOR = [outcome for outcome in Outcome if outcome is not Outcome.UNDELIVERABLE]


class Model(RuleBasedStateMachine):
    """Copies of messages by what has become of them. Nothing here runs out of time: other tests have that."""

    def __init__(self) -> None:
        super().__init__()
        self.world = DurableWorld()
        self.number = 0
        self.alive: list[Client] = []
        self.sent: dict[str, set[Copy]] = {}
        """By body, of all whose senders want to know."""
        self.waiting: set[str] = set()
        """Bodies that were sent since the last crash: their senders wait, or were told."""
        self.restored: set[Copy] = set()
        """The messages that the last crash left on the disk, whether their senders were told or not."""
        self.settled: set[Copy] = set()
        """Since the last crash, by a consumer."""
        self.over: set[Copy] = set()
        """Settled, and that is committed."""
        self.batch: Batch | None = None
        """On its way to the disk, with the copies that were settled and the destinations that were there before."""
        self.batch_settled: set[Copy] = set()
        self.batch_destinations: set[str] = set()
        self.destinations: set[str] = set()
        """Patterns of those that are committed."""

    def teardown(self) -> None:
        self.world.store.close()

    def promised(self) -> set[Copy]:
        """The messages that must come back."""
        safe: set[Copy] = set().union(*(self.sent[body] for body in self.world.safe if body in self.sent))
        return (safe | self.restored) - self.settled

    # What happens

    def client(self, number: int) -> Client | None:
        return self.alive[number % len(self.alive)] if self.alive else None

    @initialize()
    def begin(self) -> None:
        for pattern in PATTERNS:
            self.listen(pattern, 5)
        self.commit(works=True)

    @rule(pattern=st.sampled_from(PATTERNS), credit=st.integers(0, 5))
    def listen(self, pattern: str, credit: int) -> None:
        self.alive.append(self.world.listen(pattern, share="s", ttl=FOR_EVER, credit=credit))

    @rule(number=NUMBER, credit=st.integers(0, 5))
    def credit(self, number: int, credit: int) -> None:
        if client := self.client(number):
            client.credit(credit)

    @rule(topic=st.sampled_from(["a", "b"]), at_most_once=st.sampled_from([False, False, True]))
    def send(self, topic: str, at_most_once: bool) -> None:
        for _ in range(3):
            self.number += 1
            body = f"{self.number:05}"
            found = {name.pattern for name in self.world.broker.destinations if matches(name.pattern, topic)}
            if at_most_once:
                self.world.publish(body, topic=topic)
            elif self.world.send(body, topic=topic) is Outcome.REJECTED:
                assert found and self.world.journal.failing
            else:
                self.sent[body] = {(pattern, body) for pattern in found}
                self.waiting.add(body)

    @rule(place=NUMBER, outcomes=st.lists(st.sampled_from([*WAITED_FOR, Outcome.ACCEPTED]), min_size=1, max_size=4))
    def settle(self, place: int, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            holding = [client for client in self.alive if client.held]
            if not holding:
                return
            client = holding[place % len(holding)]
            held = client.held[place % len(client.held)]
            if outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
                self.settled.add((client.name.pattern, held.rest.decode()))
            client.settle(outcome, client.held.index(held))

    @rule(number=NUMBER)
    def leave(self, number: int) -> None:
        if client := self.client(number):
            self.alive.remove(client)
            client.leave()

    @rule()
    def begin_commit(self) -> None:
        if self.batch is None:
            self.batch = self.world.journal.take(math.inf)
            self.batch_settled = set(self.settled)
            self.batch_destinations = {name.pattern for name in self.world.broker.destinations}

    @rule(works=st.booleans())
    def commit(self, works: bool) -> None:
        self.begin_commit()
        self.end_commit(works)

    @rule(works=st.booleans())
    def end_commit(self, works: bool) -> None:
        batch, self.batch = self.batch, None
        if batch is None:
            return
        if works:
            self.world.store.write(batch)
            self.world.store.commit()
            self.over |= self.batch_settled
            self.destinations |= self.batch_destinations
            self.world.broker.written(batch)
        else:
            self.world.broker.not_written(batch, "the disk is full")

    @rule(really=st.integers(0, 2))
    def crash(self, really: int) -> None:
        if really:  # a history needs some length
            return
        promised = self.promised()
        self.alive, self.batch = [], None
        self.world.crash()
        found: set[Copy] = set()
        for name, destination in self.world.broker.destinations.items():
            bodies = [message.rest.decode() for message in destination.waiting()]
            assert bodies == sorted(set(bodies)), "twice, or not in order"
            found |= {(name.pattern, body) for body in bodies}
        assert promised <= found, "lost"
        assert not found & self.over, "back although it was settled for good"
        assert found <= set().union(*self.sent.values()), "kept although nobody asked for it"
        assert self.destinations <= {name.pattern for name in self.world.broker.destinations}
        self.restored, self.settled, self.waiting = found, set(), set()
        self.begin()

    # What always holds

    @invariant()
    def nothing_that_was_promised_is_missing(self) -> None:
        there = {
            (name.pattern, message.rest.decode())
            for name, destination in self.world.broker.destinations.items()
            for message in destination.waiting()
        }
        there |= {(client.name.pattern, held.rest.decode()) for client in self.alive for held in client.held}
        assert self.promised() <= there

    @invariant()
    def nobody_waits_for_what_is_on_the_disk(self) -> None:
        if not self.world.journal and self.batch is None:
            assert self.waiting <= {*self.world.safe, *self.world.refused}


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestWhatWasPromisedIsKept = Model.TestCase
