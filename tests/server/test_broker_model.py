"""The broker against a model that is too simple to be wrong: whatever happens in whatever order, its rules hold."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from mqlight.amqp.topics import matches
from mqlight.amqp.types import Outcome
from mqlight.server.broker import Broker, Limits
from mqlight.server.destination import Consumer, DestinationName
from mqlight.server.publication import Publication
from mqlight.server.queued import Queued

NAMES = [
    DestinationName("a", share="s"),
    DestinationName("a", share="z"),
    DestinationName("+", share="s"),
    DestinationName("#", client_id="x"),
    DestinationName("a/b", client_id="x"),
]
TOPICS = ["a", "b", "a/b"]
LIMIT = 6

# A message that a consumer cannot deliver waits beside the others: see test_broker.py.
WAITED_FOR = [outcome for outcome in Outcome if outcome is not Outcome.UNDELIVERABLE]


class Client:
    """The messages that a consumer got, those that it holds, and those that it may still get by the model's count."""

    def __init__(self, model: Model, name: DestinationName, at_most_once: bool) -> None:
        self.model = model
        self.name = name
        self.at_most_once = at_most_once
        self.allowed = 0
        self.held: list[Queued] = []
        self.consumer: Consumer

    def deliver(self, message: Queued, now: float) -> None:
        self.model.delivered(self, message, now)


class Model(RuleBasedStateMachine):
    """Each destination's messages by number: waiting, held by one consumer, or done with."""

    clients = Bundle("clients")

    def __init__(self) -> None:
        super().__init__()
        self.broker = Broker(Limits(queue_messages=LIMIT))
        self.now = 0.0
        self.number = 0
        self.alive: list[Client] = []
        self.waiting: dict[DestinationName, dict[int, float | None]] = {}
        """By destination: the number of each message that waits, and when its time is over."""
        self.ttl: dict[DestinationName, float] = {}
        self.forget_at: dict[DestinationName, float | None] = {}
        self.gone: set[tuple[DestinationName, int]] = set()
        """Messages that no consumer may get again: settled, or given at most once."""

    # What the broker does

    def delivered(self, client: Client, message: Queued, now: float) -> None:
        name, number = client.name, int(message.rest)
        assert client in self.alive, "given to a consumer that is gone"
        assert client.allowed > 0, "more than the credit"
        client.allowed -= 1
        assert (name, number) not in self.gone, "given again after it was settled"
        waiting = self.waiting[name]
        assert number in waiting, "given although another has it"
        expires = waiting.pop(number)
        assert expires is None or expires > now, "given after its time"
        resting = {int(each.rest) for each in self.broker.destinations[name].resting.values()}
        earlier = [n for n, end in waiting.items() if n < number and (end is None or end > now) and n not in resting]
        assert not earlier, "given before an earlier one"
        if client.at_most_once:
            self.gone.add((name, number))
        else:
            client.held.append(message)

    # What happens

    @rule(target=clients, name=st.sampled_from(NAMES), ttl=st.sampled_from([0, 0, 5]), at_most_once=st.booleans())
    def subscribe(self, name: DestinationName, ttl: float, at_most_once: bool) -> Client:
        client = Client(self, name, at_most_once)
        self.alive.append(client)
        self.waiting.setdefault(name, {})
        self.ttl[name], self.forget_at[name] = ttl, None
        client.consumer = self.broker.subscribe(name, ttl, client.deliver, at_most_once=at_most_once)
        return client

    @rule(client=clients, credit=st.integers(0, 4))
    def credit(self, client: Client, credit: int) -> None:
        client.allowed = credit
        self.broker.give_credit(client.consumer, credit, self.now)

    @rule(topic=st.sampled_from(TOPICS), ttl=st.sampled_from([None, None, 1000, 3000]))
    def publish(self, topic: str, ttl: int | None) -> None:
        self.number += 1
        found = [name for name in self.waiting if matches(name.pattern, topic)]
        expires = None if ttl is None else self.now + ttl / 1000
        for name in found:
            self.waiting[name][self.number] = expires
        before = {name: self.broker.destinations[name].count for name in found}
        dropped = {name: self.broker.destinations[name].dropped for name in found}
        publication = Publication(topic, ttl, False, 0, 4, b"%d" % self.number)
        outcome, condition = self.broker.publish(publication, self.now)
        assert (outcome is Outcome.RELEASED) == (not found)
        if outcome is Outcome.REJECTED:
            assert condition is not None
            assert any(before[name] >= LIMIT for name in found)
            for name in found:
                del self.waiting[name][self.number], before[name]
        for name in before:
            if self.broker.destinations[name].dropped > dropped[name]:
                assert before[name] >= LIMIT and not self.ttl[name]
                assert all(client.at_most_once for client in self.alive if client.name == name)
                del self.waiting[name][self.number]

    @rule(client=clients, place=st.integers(0, 3), outcome=st.sampled_from(WAITED_FOR))
    def settle(self, client: Client, place: int, outcome: Outcome) -> None:
        if not client.held:
            return
        message = client.held.pop(place % len(client.held))
        number = int(message.rest)
        if outcome in (Outcome.ACCEPTED, Outcome.REJECTED):
            self.gone.add((client.name, number))
        else:
            self.waiting[client.name][number] = message.expires
        self.broker.settle(client.consumer, message, outcome, self.now)

    @rule(client=consumes(clients), forget=st.booleans())
    def leave(self, client: Client, forget: bool) -> None:
        name = client.name
        self.alive.remove(client)
        for message in client.held:
            self.waiting[name][int(message.rest)] = message.expires
        if forget:
            self.ttl[name] = 0
        if not any(other.name == name for other in self.alive):
            if self.ttl[name]:
                self.forget_at[name] = self.now + self.ttl[name]
            else:
                self.forget(name)
        held, client.held = client.held, []
        self.broker.unsubscribe(client.consumer, held, self.now, forget=forget)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        for name, end in list(self.forget_at.items()):
            if end is not None and end <= self.now:
                self.forget(name)
        self.broker.sweep(self.now)

    def forget(self, name: DestinationName) -> None:
        del self.waiting[name], self.forget_at[name], self.ttl[name]

    # What always holds

    @invariant()
    def the_same_destinations_are_there(self) -> None:
        assert set(self.broker.destinations) == set(self.waiting)

    @invariant()
    def no_message_is_lost(self) -> None:
        for name, destination in self.broker.destinations.items():
            queued = [int(message.rest) for message in destination.waiting()]
            assert queued == sorted(queued)
            wanted = {n for n, end in self.waiting[name].items() if end is None or end > self.now}
            assert wanted <= set(queued) <= set(self.waiting[name])
            assert destination.bytes == sum(len(message.rest) for message in destination.waiting())

    @invariant()
    def nobody_waits_beside_a_message(self) -> None:
        for client in self.alive:
            assert client.consumer.credit == client.allowed
            assert client.consumer.holds == len(client.held)
            assert not (client.allowed and self.broker.destinations[client.name].queue)


Model.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestBrokerKeepsItsRules = Model.TestCase
