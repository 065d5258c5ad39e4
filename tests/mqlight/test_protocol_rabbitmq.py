"""The client's session against a scripted RabbitMQ: what it asks for, when, and what it makes of the answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from amqp.pair import End, pump
from mqlight.amqp.engine import Engine
from mqlight.amqp.link import Link
from mqlight.amqp.message import Message, decode, encode
from mqlight.amqp.types import Condition, Handle, Outcome
from mqlight.errors import MQLightError, NetworkError, NotPermittedError, SecurityError
from mqlight.outgoing import Outgoing
from mqlight.protocol import ClientProtocol
from mqlight.subscription import Subscription
from mqlight.subscriptions import ANSWER_TIMEOUT

Answer = tuple[int, Any]
GRANTED: dict[str, Answer] = {
    "PUT": (201, {}),
    "POST": (204, None),
    "GET": (200, {"consumer_count": 0}),
    "DELETE": (200, {}),
}


class RabbitMq(End):
    """Its end of a connection. ``asked`` are the requests; ``answers`` by method, or None for no answer."""

    def __init__(self, version: str = "4.0.5") -> None:
        properties = {"product": "RabbitMQ", "version": version}
        super().__init__(server=True, credit=1000, properties=properties, offered=["ANONYMOUS-RELAY"])
        self.answers: dict[str, Answer | None] = dict(GRANTED)
        self.asked: list[tuple[str, str]] = []
        self.held: list[tuple[Link, Handle]] = []

    @property
    def receivers(self) -> list[str]:
        """The addresses that the client receives from, without that of management answers."""
        return [link.source.address or "" for link in self.engine.links() if not link.receiver and not _is_ours(link)]

    def on_message(self, link: Link, handle: Handle, data: bytes, settled: bool) -> None:
        message = decode(data)
        if not _is_ours(link):
            super().on_message(link, handle, data, settled)
            self.held.append((link, handle))
            return
        assert message.subject and message.to and message.reply_to == "$me" and settled
        self.asked.append((message.subject, message.to))
        answer = self.answers[message.subject]
        if answer is not None:
            status, body = answer
            reply = Message(body=body, subject=str(status), correlation_id=message.message_id)
            answers = next(each for each in self.engine.links() if not each.receiver and _is_ours(each))
            assert answers.credit
            answers.send(encode(reply), settled=True)


def _is_ours(link: Link) -> bool:
    return link.name == "management"


class Application:
    """A session, and what it told."""

    def __init__(self) -> None:
        self.states: list[tuple[bool, MQLightError | None]] = []
        self.outcomes: list[tuple[str, Outcome]] = []
        self.subscribed: list[Exception | None] = []
        self.ended: list[Exception | None] = []
        self.protocol = ClientProtocol(on_state=lambda *state: self.states.append(state), on_room=lambda: None)
        self.server = RabbitMq()

    def connect(self, server: RabbitMq | None = None) -> None:
        self.server = server or self.server
        self.engine = Engine(self.protocol, server=False, container_id="c")
        self.protocol.begin(self.engine, "c", {}, "n")
        self.pump()

    def pump(self) -> None:
        pump(self.engine, self.server)

    def subscribe(self, pattern: str = "t", share: str | None = "s", ttl: int = 60) -> Subscription:
        subscription = Subscription(
            pattern,
            share,
            qos=1,
            ttl=ttl,
            credit=8,
            on_message=lambda *message: None,
            on_subscribed=self.subscribed.append,
        )
        self.protocol.subscriptions.subscribe(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription, *, forget: bool = True) -> None:
        self.protocol.subscriptions.unsubscribe(subscription, forget=forget, on_ended=self.ended.append)

    def send(self, topic: str, *, mandatory: bool = False) -> None:
        def told(outcome: Outcome, condition: Condition | None) -> None:
            self.outcomes.append((topic, outcome))

        self.protocol.senders.send(Outgoing(topic, encode(Message(body="", to=topic)), False, mandatory, told))

    def settle(self, outcome: Outcome, condition: Condition | None = None) -> None:
        """The server answers the oldest message that it holds."""
        link, handle = self.server.held.pop(0)
        link.settle(handle, outcome, condition)
        self.pump()


@pytest.fixture
def app() -> Application:
    return Application()


@pytest.fixture
def connected(app: Application) -> Application:
    app.connect()
    return app


def test_queue_and_binding_are_declared_before_the_link_is_attached(app: Application) -> None:
    app.subscribe()
    app.server.answers["POST"] = None
    app.connect()
    assert app.server.asked == [("PUT", "/queues/share%3As%3At"), ("POST", "/bindings")]
    assert app.server.receivers == [] and not app.protocol.connected and app.states == []


def test_the_session_is_ready_when_everything_is_declared(app: Application) -> None:
    app.subscribe()
    app.subscribe("u", None, 0)
    app.connect()
    assert app.server.receivers == ["/queues/share%3As%3At", "/queues/private%3Ac%3Au%3An"]
    assert app.states == [(True, None)] and app.subscribed == [None, None]


def test_what_is_sent_early_waits_for_the_declarations(app: Application) -> None:
    app.subscribe()
    app.send("t")
    app.connect()
    assert [decode(data).to for data in app.server.messages] == ["/exchanges/amq.topic/t"]
    assert (app.protocol.senders.outstanding, app.protocol.senders.waiting) == (1, 0)


def test_credit_is_granted_when_the_attach_was_answered(app: Application) -> None:
    accepted: list[Link] = []
    app.server.answer = _deferring(app.server, accepted)
    subscription = app.subscribe()
    app.connect()
    assert subscription.granted == 0 and len(accepted) == 1
    accepted[0].accept()
    app.pump()
    assert subscription.granted == 8 == accepted[0].credit


def _deferring(server: RabbitMq, accepted: list[Link]) -> Callable[[Link], None]:
    def answer(link: Link) -> None:
        if link.receiver or _is_ours(link):
            server.accept(link)
        else:
            accepted.append(link)

    return answer


def test_a_subscription_that_is_refused_is_told_and_the_session_is_ready_all_the_same(app: Application) -> None:
    app.server.answers["PUT"] = (409, "inequivalent arg 'x-expires'")
    app.subscribe()
    app.connect()
    (error,) = app.subscribed
    assert isinstance(error, NotPermittedError) and "x-expires" in str(error)
    assert app.protocol.subscriptions.active == [] and app.protocol.connected


def test_a_subscription_that_cannot_be_is_refused_without_asking(connected: Application) -> None:
    connected.subscribe("x" * 300)
    (error,) = connected.subscribed
    assert isinstance(error, NotPermittedError) and connected.server.asked == []


def test_a_node_that_is_going_has_the_session_begin_again(app: Application) -> None:
    app.server.answers["PUT"] = (400, "home node is down or inaccessible")
    app.subscribe()
    app.connect()
    ((connected, error),) = app.states
    assert not connected and isinstance(error, NetworkError) and "inaccessible" in str(error)
    app.protocol.end()
    app.connect(RabbitMq())
    assert app.states[1:] == [(True, None)] and app.subscribed == [None]


def test_the_end_of_the_management_link_has_the_session_begin_again(connected: Application) -> None:
    connected.subscribe()
    connected.pump()
    links = connected.server.engine.links()
    next(link for link in links if link.receiver and _is_ours(link)).detach()
    connected.pump()
    assert [state for state, _ in connected.states] == [True, False]
    assert len(connected.protocol.subscriptions.active) == 1


def test_a_missing_permission_is_told_to_what_was_being_declared(connected: Application) -> None:
    connected.server.answers["PUT"] = None
    connected.subscribe()
    connected.pump()
    links = connected.server.engine.links()
    refusal = Condition("amqp:unauthorized-access", "configure access to queue 'q' refused")
    next(link for link in links if link.receiver and _is_ours(link)).detach(condition=refusal)
    connected.pump()
    (error,) = connected.subscribed
    assert isinstance(error, SecurityError) and "configure access" in str(error)
    assert connected.protocol.subscriptions.active == []


def test_a_queue_that_was_deleted_is_declared_again(connected: Application) -> None:
    connected.subscribe()
    connected.pump()
    link = connected.server.engine.links()[-1]
    link.detach(condition=Condition("amqp:resource-deleted", "somebody deleted it"))
    connected.pump()
    assert connected.server.receivers == []
    connected.protocol.subscriptions.resume()
    connected.pump()
    assert [method for method, _ in connected.server.asked] == ["PUT", "POST"] * 2
    assert len(connected.server.receivers) == 1 and connected.subscribed == [None]


@pytest.mark.parametrize("forget", [True, False])
def test_a_destination_is_deleted_when_it_is_to_be_forgotten(connected: Application, forget: bool) -> None:
    subscription = connected.subscribe()
    connected.pump()
    connected.server.asked.clear()
    connected.unsubscribe(subscription, forget=forget)
    assert connected.ended == []
    connected.pump()
    assert [method for method, _ in connected.server.asked] == (["GET", "DELETE"] if forget else [])
    assert connected.ended == [None] and connected.server.receivers == []


def test_a_subscription_that_is_given_up_while_it_is_declared_leaves_nothing(connected: Application) -> None:
    connected.unsubscribe(connected.subscribe())
    connected.pump()
    assert [method for method, _ in connected.server.asked] == ["PUT", "POST", "GET", "DELETE"]
    assert connected.server.receivers == [] and connected.ended == [None]


def test_a_destination_that_could_not_be_deleted_any_more_is_deleted_over_the_next_connection(
    connected: Application,
) -> None:
    connected.server.answers["GET"] = None
    subscription = connected.subscribe()
    connected.pump()
    connected.unsubscribe(subscription)
    connected.pump()
    assert connected.ended == []
    connected.engine.end_of_input()
    connected.protocol.end()
    assert connected.ended == []
    connected.connect(RabbitMq())
    assert [method for method, _ in connected.server.asked] == ["GET", "DELETE"]
    assert connected.ended == [None] and connected.server.receivers == []


def test_a_queue_that_is_to_be_forgotten_is_deleted_over_the_next_connection(connected: Application) -> None:
    connected.server.answers["GET"] = None
    subscription = connected.subscribe()
    connected.pump()
    connected.unsubscribe(subscription)
    connected.pump()
    connected.engine.end_of_input()
    connected.protocol.end()
    assert connected.ended == []
    connected.connect(RabbitMq())
    assert connected.server.asked == [("GET", "/queues/share%3As%3At"), ("DELETE", "/queues/share%3As%3At")]
    assert connected.ended == [None] and connected.server.receivers == []


def test_nobody_listens_is_told_to_those_who_want_to_know(connected: Application) -> None:
    connected.send("t")
    connected.send("u", mandatory=True)
    connected.pump()
    connected.settle(Outcome.RELEASED)
    connected.settle(Outcome.RELEASED)
    assert connected.outcomes == [("t", Outcome.ACCEPTED), ("u", Outcome.RELEASED)]


def test_a_message_that_is_rejected_without_a_reason_is_sent_again(connected: Application) -> None:
    connected.send("t")
    connected.pump()
    connected.settle(Outcome.REJECTED)
    assert (
        connected.outcomes == []
        and connected.protocol.senders.waiting == 1
        and len(connected.protocol.senders.rejected) == 1
    )
    connected.protocol.senders.resend()
    connected.pump()
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes == [("t", Outcome.ACCEPTED)]
    assert (connected.protocol.senders.outstanding, connected.protocol.senders.waiting) == (0, 0)


def test_a_message_that_was_rejected_is_sent_over_the_next_connection(connected: Application) -> None:
    connected.send("t")
    connected.pump()
    connected.settle(Outcome.REJECTED)
    connected.engine.end_of_input()
    connected.protocol.end()
    connected.connect(RabbitMq())
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes == [("t", Outcome.ACCEPTED)]


def test_a_message_that_is_rejected_with_a_reason_or_again_and_again_is_told(connected: Application) -> None:
    for topic in "tu":
        connected.send(topic)
    connected.pump()
    connected.settle(Outcome.REJECTED, Condition("amqp:link:message-size-exceeded", "too large"))
    assert connected.outcomes == [("t", Outcome.REJECTED)]
    while len(connected.outcomes) < 2:
        connected.settle(Outcome.REJECTED)
        connected.protocol.senders.resend()
        connected.pump()
    assert connected.outcomes[1] == ("u", Outcome.REJECTED)
    assert (connected.protocol.senders.outstanding, connected.protocol.senders.waiting) == (0, 0)


def test_a_topic_that_is_too_long_is_rejected_with_the_limit_and_others_go_on(connected: Application) -> None:
    connected.send("x" * 300)
    connected.send("t")
    connected.pump()
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes == [("x" * 300, Outcome.REJECTED), ("t", Outcome.ACCEPTED)]


def test_a_rabbitmq_that_is_too_old_is_left_with_the_reason(app: Application) -> None:
    app.subscribe()
    app.connect(RabbitMq("3.13.7"))
    ((connected, error),) = app.states
    assert not connected and isinstance(error, NotPermittedError) and "upgrade it to 4.0" in str(error)
    assert app.engine.closed and app.server.all("close")


def test_a_subscription_that_is_not_answered_has_the_session_begin_again(connected: Application) -> None:
    connected.server.answers["PUT"] = None
    assert connected.protocol.subscriptions.look(100.0) is None
    connected.subscribe()
    connected.pump()
    assert connected.protocol.subscriptions.look(101.0) == 101.0 + ANSWER_TIMEOUT
    connected.protocol.subscriptions.look(101.0 + ANSWER_TIMEOUT)
    connected.pump()
    connected_then, error = connected.states[-1]
    assert not connected_then and "has not answered the subscription share:s:t" in str(error)
    assert len(connected.protocol.subscriptions.active) == 1


def test_a_subscription_that_is_answered_late_goes_on(connected: Application) -> None:
    accepted: list[Link] = []
    connected.server.answer = _deferring(connected.server, accepted)
    connected.subscribe()
    connected.pump()
    assert connected.protocol.subscriptions.look(100.0) is not None
    accepted[0].accept()
    connected.pump()
    assert connected.protocol.subscriptions.look(100.0 + 2 * ANSWER_TIMEOUT) is None
    assert connected.states == [(True, None)]


def test_what_waits_when_the_server_ends_its_session_is_sent_over_the_next_connection(connected: Application) -> None:
    connected.server.answers["PUT"] = None
    connected.subscribe()
    connected.send("t")
    connected.pump()
    reason = Condition("amqp:internal-error", "it crashed")
    for link in connected.server.engine.links():
        link.detach(condition=reason)
    connected.pump()
    assert connected.outcomes == []
    connected.engine.end_of_input()
    connected.protocol.end()
    connected.connect(RabbitMq())
    assert [decode(data).to for data in connected.server.messages] == ["/exchanges/amq.topic/t"]
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes == [("t", Outcome.ACCEPTED)]
    assert (connected.protocol.senders.outstanding, connected.protocol.senders.waiting) == (0, 0)


def refuse(connected: Application, description: str) -> None:
    """The server ends its session, as RabbitMQ does over a message to where the user may not send."""
    for link in list(connected.server.engine.links()):
        link.detach(condition=Condition("amqp:unauthorized-access", description))
    connected.pump()


def test_a_message_that_may_not_be_sent_is_told_so_and_others_are_sent_over_the_next_connection(
    connected: Application,
) -> None:
    for topic in ("a", "b/c", "d"):
        connected.send(topic)
    connected.pump()
    refuse(connected, "write access to topic 'b.c' in exchange 'amq.topic' in vhost '/' refused for user 'u'")
    assert connected.outcomes == [("b/c", Outcome.REJECTED)]
    connected.engine.end_of_input()
    connected.protocol.end()
    connected.connect(RabbitMq())
    assert [decode(data).to for data in connected.server.messages] == [
        "/exchanges/amq.topic/a",
        "/exchanges/amq.topic/d",
    ]
    connected.settle(Outcome.ACCEPTED)
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes[1:] == [("a", Outcome.ACCEPTED), ("d", Outcome.ACCEPTED)]
    assert (connected.protocol.senders.outstanding, connected.protocol.senders.waiting) == (0, 0)


def test_who_may_send_nowhere_is_told_so_of_each_message(connected: Application) -> None:
    for topic in ("a", "b"):
        connected.send(topic)
    connected.pump()
    refuse(connected, "write access to exchange 'amq.topic' in vhost '/' refused for user 'u'")
    assert connected.outcomes == [("a", Outcome.REJECTED), ("b", Outcome.REJECTED)]
    assert (connected.protocol.senders.outstanding, connected.protocol.senders.waiting) == (0, 0)


@pytest.mark.parametrize(
    "refused",
    [
        "configure access to queue 'q' in vhost '/' refused for user 'u'",
        "write access to queue 'q' in vhost '/' refused for user 'u'",
        "read access to topic 'a' in exchange 'amq.topic' in vhost '/' refused for user 'u'",
    ],
)
def test_a_permission_that_a_subscription_lacks_costs_no_message(connected: Application, refused: str) -> None:
    connected.send("a")
    connected.pump()
    refuse(connected, refused)
    assert connected.outcomes == []
    connected.engine.end_of_input()
    connected.protocol.end()
    connected.connect(RabbitMq())
    connected.settle(Outcome.ACCEPTED)
    assert connected.outcomes == [("a", Outcome.ACCEPTED)]


def test_nothing_is_requested_before_there_is_credit_for_the_answer(app: Application) -> None:
    late: list[Link] = []

    def answer(link: Link) -> None:
        if link.receiver:
            app.server.accept(link)
        else:
            late.append(link)

    app.server.answer = answer
    app.subscribe()
    app.connect()
    assert len(late) == 1 and app.server.asked == []
    app.server.answer = app.server.accept
    late[0].accept()
    app.pump()
    assert app.states == [(True, None)]


def test_a_subscription_that_was_confirmed_and_is_refused_later_is_asked_for_again(connected: Application) -> None:
    connected.subscribe()
    connected.pump()
    connected.engine.end_of_input()
    connected.protocol.end()
    server = RabbitMq()
    server.answers["PUT"] = (403, "not now")
    connected.connect(server)
    assert connected.protocol.connected and server.receivers == []
    server.answers["PUT"] = (200, {})
    connected.protocol.subscriptions.resume()
    connected.pump()
    assert server.receivers == ["/queues/share%3As%3At"] and connected.subscribed == [None]


def test_there_is_something_to_wait_for_until_a_destination_is_deleted(connected: Application) -> None:
    subscription = connected.subscribe()
    connected.pump()
    connected.unsubscribe(subscription)
    assert connected.protocol.subscriptions.forgets
    connected.pump()
    assert not connected.protocol.subscriptions.forgets
