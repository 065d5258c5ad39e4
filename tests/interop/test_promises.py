"""The server does all that it grants to other clients: Proton's reads the answers, and checks them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from proton import Message, Terminus, Timeout, symbol
from proton.reactor import Container, Copy, DurableSubscription, Filter, LinkOption, Selector
from proton.utils import BlockingConnection, BlockingReceiver, LinkDetached, SendException

from mqlight.server.sources import MAX_TTL
from processes import Server, start_server


class Client(BlockingConnection):  # type: ignore[misc]
    """A connection of Proton's blocking client, with a container id."""

    def __init__(self, url: str, client_id: str) -> None:
        container = Container()
        container.container_id = client_id
        super().__init__(url, timeout=10, container=container)


@pytest.fixture
def connect(shared_server: Server) -> Iterator[Callable[..., Client]]:
    clients: list[Client] = []

    def connect(client_id: str = "", url: str = shared_server.url) -> Client:
        clients.append(Client(url, client_id))
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def send(client: Client, topic: str, body: object, **fields: Any) -> None:
    sender = client.create_sender(topic)
    sender.send(Message(body=body, **fields))
    sender.close()


def bodies(receiver: BlockingReceiver, count: int) -> list[Any]:
    """The bodies of the next messages; receiving stops there."""
    found = []
    for _ in range(count):
        found.append(receiver.receive(timeout=10).body)
        receiver.accept()
    return found


def nothing_comes(receiver: BlockingReceiver) -> bool:
    """Whether the server has nothing for a receiver: it says so by using up the credit."""
    try:
        receiver.receive(timeout=0.2)
    except Timeout:
        return True
    return False


class Never(LinkOption):  # type: ignore[misc]
    """Asks for a source that never expires, and no more."""

    def apply(self, link: Any) -> None:
        link.source.expiry_policy = Terminus.EXPIRE_NEVER


class Nothing(LinkOption):  # type: ignore[misc]
    """Asks for the subscription of the link's name, whatever its source is (section 2.6.3)."""

    def apply(self, link: Any) -> None:
        link.source.type = Terminus.UNSPECIFIED


@pytest.mark.parametrize("options", [DurableSubscription(), Never()])
def test_a_durable_subscription_gets_what_was_sent_while_its_client_was_away(
    connect: Callable[..., Client], options: LinkOption
) -> None:
    reader = connect("reader")
    receiver = reader.create_receiver("promise/news", name="mine", options=options)
    granted = receiver.link.remote_source
    assert (granted.durability, granted.timeout) == (Terminus.NONDURABLE, MAX_TTL)  # without --data nothing is durable
    assert granted.expiry_policy == Terminus.EXPIRE_WITH_LINK
    reader.close()
    send(connect(), "promise/news", "while you were away")
    reader = connect("reader")
    receiver = reader.create_receiver("promise/news", name="mine", options=options)
    assert bodies(receiver, 1) == ["while you were away"]
    receiver.close()
    send(connect(), "promise/news", "after the end")
    receiver = reader.create_receiver("promise/news", name="mine", options=options)
    assert nothing_comes(receiver)
    receiver.close()


def test_a_subscription_is_its_clients_and_its_names(connect: Callable[..., Client]) -> None:
    options = DurableSubscription()
    one, other = connect("one"), connect("other")
    receivers = [
        one.create_receiver("promise/own", name="a", options=options),
        one.create_receiver("promise/own", name="b", options=options),
        other.create_receiver("promise/own", name="a", options=options),
    ]
    send(one, "promise/own", "each")
    assert [bodies(receiver, 1) for receiver in receivers] == [["each"]] * 3
    for receiver in receivers:
        receiver.close()


def test_a_subscription_to_another_address_begins_anew(connect: Callable[..., Client]) -> None:
    reader, sender = connect("reader"), connect()
    reader.create_receiver("promise/old", name="changed", options=DurableSubscription())
    reader.close()
    send(sender, "promise/old", "old")
    reader = connect("reader")
    receiver = reader.create_receiver("promise/new", name="changed", options=DurableSubscription())
    send(sender, "promise/old", "too late")
    send(sender, "promise/new", "new")
    assert bodies(receiver, 1) == ["new"] and nothing_comes(receiver)
    receiver.close()


def test_a_source_of_nothing_finds_the_subscription_of_its_name_and_ends_it(connect: Callable[..., Client]) -> None:
    reader = connect("reader")
    reader.create_receiver("promise/found", name="lost", options=DurableSubscription())
    reader.close()
    reader = connect("reader")
    receiver = reader.create_receiver(None, name="lost", options=Nothing())
    assert receiver.link.remote_source.address == "promise/found"
    receiver.close()
    with pytest.raises(LinkDetached, match="not-found"):
        reader.create_receiver(None, name="lost", options=Nothing())


def test_a_durable_subscription_survives_the_end_of_a_server_with_a_store(tmp_path: Path) -> None:
    server = start_server("--data", str(tmp_path))
    try:
        reader = Client(server.url, "reader")
        receiver = reader.create_receiver("promise/kept", name="mine", options=DurableSubscription())
        assert receiver.link.remote_source.durability == Terminus.CONFIGURATION
        reader.close()
        sender = Client(server.url, "")
        send(sender, "promise/kept", b"kept", durable=True, inferred=True)
        server.kill()
        server.close()
        server = start_server("--data", str(tmp_path))
        reader = Client(server.url, "reader")
        receiver = reader.create_receiver("promise/kept", name="mine", options=DurableSubscription())
        message = receiver.receive(timeout=10)
        assert (message.body, message.inferred) == (b"kept", True)
        reader.close()
    finally:
        server.close()


@pytest.mark.parametrize("options", [Copy(), Selector("a = 1"), Filter({symbol("no-local"): True})])
def test_what_the_server_does_not_do_is_refused(connect: Callable[..., Client], options: LinkOption) -> None:
    with pytest.raises(LinkDetached, match="not-implemented"):
        connect().create_receiver("promise/wish", options=options)


def test_a_filter_of_nothing_is_granted(connect: Callable[..., Client]) -> None:
    client = connect()
    receiver = client.create_receiver("promise/empty", options=Filter({}))
    send(client, "promise/empty", 1)
    assert bodies(receiver, 1) == [1]


@pytest.mark.parametrize("client_id", ["one", ""])
def test_two_receivers_of_one_plain_topic_get_every_message_each(
    connect: Callable[..., Client], client_id: str
) -> None:
    client = connect(client_id)
    receivers = [client.create_receiver("promise/both", name=name) for name in "ab"]
    for body in range(3):
        send(client, "promise/both", body)
    assert [bodies(receiver, 3) for receiver in receivers] == [[0, 1, 2]] * 2


@pytest.mark.parametrize("address", ["promise/empty-id", "private:promise/empty-id"])
def test_clients_without_an_id_share_no_queue(connect: Callable[..., Client], address: str) -> None:
    receivers = [connect("").create_receiver(address, name="same") for _ in "ab"]
    send(connect(""), "promise/empty-id", "each")
    assert [bodies(receiver, 1) for receiver in receivers] == [["each"]] * 2


class Dynamic(LinkOption):  # type: ignore[misc]
    """Asks for a target that the server makes, as JMS does for a temporary queue or topic."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def apply(self, link: Any) -> None:
        link.target.dynamic = True
        link.target.capabilities.put_object(symbol(self.kind))


def test_a_temporary_queue_keeps_what_comes_before_its_receiver_and_ends_with_its_link(
    connect: Callable[..., Client],
) -> None:
    client, other = connect("maker"), connect()
    maker = client.create_sender(None, options=Dynamic("temporary-queue"))
    address = maker.link.remote_target.address
    assert address and maker.link.remote_target.dynamic
    send(other, address, "early")
    receivers = [client.create_receiver(address, name=name) for name in "ab"]
    assert bodies(receivers[0], 1) == ["early"]
    assert nothing_comes(receivers[1])
    for receiver in receivers:
        receiver.close()
    maker.close()
    sender = other.create_sender(None, name="relay")
    receiver = client.create_receiver(address)
    sender.send(Message(address=address, body="late"))
    assert bodies(receiver, 1) == ["late"]  # a topic like any other by now


def test_a_temporary_topic_reaches_each_of_its_receivers(connect: Callable[..., Client]) -> None:
    client = connect("maker")
    address = client.create_sender(None, options=Dynamic("temporary-topic")).link.remote_target.address
    receivers = [client.create_receiver(address, name=name) for name in "ab"]
    send(connect(), address, "each")
    assert [bodies(receiver, 1) for receiver in receivers] == [["each"]] * 2


def test_a_bare_message_is_not_changed_for_plain_addresses_and_fits_mq_light_for_its_own(
    connect: Callable[..., Client],
) -> None:
    client = connect("reader")
    plain, light = (client.create_receiver(address) for address in ("promise/bare", "private:promise/bare"))
    send(client, "promise/bare", b"bytes", inferred=True)
    message = plain.receive(timeout=10)
    assert (message.body, message.inferred, message.address) == (b"bytes", True, None)
    message = light.receive(timeout=10)
    assert (message.body, message.inferred, message.address) == (b"bytes", False, "promise/bare")


def test_a_message_to_an_impossible_topic_is_rejected_by_itself(connect: Callable[..., Client]) -> None:
    sender = connect().create_sender("promise" + "/x" * 200)
    for _ in range(2):
        with pytest.raises(SendException):
            sender.send(Message(body="m"))
    sender.close()
