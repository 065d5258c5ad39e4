"""A broker in memory, the servers and clients that are connected to it, and a look at the messages that passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import macaque.client
from macaque.dead_letter import PREFIX, DeadLetter, decode_dead_letter
from macaque.kinds import Kind
from macaque.published import Published, published
from macaque.registry import Service
from macaque.server import Server
from macaque.testing.awaiting import AttendedWakeups
from macaque.testing.hub import Hub, Lane
from macaque.testing.memory import Memory
from macaque.worker import Worker
from mqlight.amqp.message import Message, encode
from mqlight.amqp.topics import matches, validate_pattern
from mqlight.amqp.types import Condition, Outcome

__all__ = ["Broker", "Client", "Clock", "Published", "client"]

CLOSE_TIMEOUT = 1.0
"""Seconds that coroutines and generators have to end when the broker is closed."""
ANYWHERE = "amqp://127.0.0.1"
"""The URL of clients in memory. It is not used; it keeps a client from reading the environment."""


class Clock:
    """The clock of a broker in memory. It stands still while functions run, and jumps while a test waits.

    Time-outs, pauses between delivery attempts, and times to live follow it. `time.sleep` and `datetime.now` do not.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def now(self) -> float:
        """Return the time in seconds since an arbitrary begin."""
        return self._hub.now

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass, and do everything that is due meanwhile: calls time out, messages are tried again.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"The clock cannot go back by {-seconds:g} s: give 0 or more seconds.")
        self._hub.advance(seconds)


class Broker:
    """A broker in memory. Use it as a context manager, or close it.

    The broker, the AMQP engine and the messages are those of the development server. Only the sockets are missing.
    """

    def __init__(self) -> None:
        self._hub = Hub()
        self.clock = Clock(self._hub)
        """The time of this broker."""
        self._sent: list[tuple[str, bytes]] = []
        self._names: set[str] = set()
        self._servers: list[Server] = []
        self._clients: list[Client] = []
        self._stranger: Memory | None = None

    def __enter__(self) -> Broker:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the clients and the servers. A second call is harmless."""
        while self._clients:
            self._clients.pop().close()
        while self._servers:
            self._servers.pop().close(CLOSE_TIMEOUT)
        if self._stranger is not None:
            self._stranger.stop()
        self._hub.join()

    def serve(self, *apps: Server) -> None:
        """Serve the services of apps, until this broker is closed. The apps do not change, and need no broker.

        Callers get the traceback of an exception with its RemoteError, as with `debug=True`. An app that is given
        twice is served twice, as in two processes.

        Raises:
            TypeError: an app is not a macaque.Server.
        """
        for app in apps:
            if not isinstance(app, Server):
                raise TypeError(f"{app!r} is not a macaque.Server: give the object with the services.")
            twin = self._twin(app)
            self._servers.append(twin)
            twin.connect()

    def _twin(self, app: Server) -> Server:
        """Return a server with the services of an app, but with a connection to this broker and a state of its own."""

        def leave(wanted: SystemExit) -> None:
            """Stop only the server, not the process, after an `exit()` in a service."""
            Lane(self._hub, 1).submit(twin.close)

        def worker(connection: Memory, service: Service, **options: Any) -> Worker:
            twin._inbox._wakeups = AttendedWakeups(self._hub)
            connection.aside = service.kind is Kind.GENERATOR
            return make_worker(connection, service, **options)

        twin = app._twin(self._connect, self._name(app.client_id))
        make_worker, twin._worker = twin._worker, worker  # type: ignore[method-assign, assignment]
        twin._debug = True
        twin._observer = None
        twin._exit = leave  # type: ignore[method-assign]
        self._hub.loops.append(twin._loop)
        return twin

    def client(self, *, timeout: float = macaque.client.TIMEOUT) -> Client:
        """Return a client of this broker. It is closed with the broker.

        Args:
            timeout: the default timeout of a call, in seconds of the broker's clock.
        """
        client = Client(self, timeout=timeout)
        self._clients.append(client)
        return client

    @contextmanager
    def borrow(self, *clients: macaque.client.Client) -> Iterator[None]:
        """Connect existing clients to this broker in a block, for services that call others by a client of their own.

        Each of these clients is in its first state afterwards. Another test must not use it at the same time.

        Raises:
            ValueError: a client is connected already.
        """
        for each in clients:
            if each._started:
                raise ValueError(f"{each!r} is connected to its own broker: borrow it before its first call.")
        for each in clients:
            each._connect = self._connect  # type: ignore[assignment]
            each._begin(each.client_id)
            each._calls._wakeups = AttendedWakeups(self._hub)
        try:
            yield
        finally:
            for each in clients:
                each.close()
                del each._connect
                each._begin(each.client_id)

    def published(self, pattern: str = "#") -> list[Published]:
        """Return the messages that were sent to topics that match a pattern, in order, also those without receivers.

        Raises:
            TopicError: the pattern is not one.
        """
        validate_pattern(pattern)
        return [published(topic, message) for topic, message in self._sent if matches(pattern, topic)]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The requests that failed every delivery attempt, in order. `data` and `reason` tell which and why."""
        return [decode_dead_letter(message) for topic, message in self._sent if topic.startswith(PREFIX)]

    def deliver(self, topic: str, data: Any, *, reply_to: str | None = None) -> bool:
        """Send data as a client does that knows only AMQP 1.0: as the body, without macaque's envelope.

        Args:
            data: any value that AMQP can carry.
            reply_to: the topic of the reply: see `published`.

        Returns:
            Whether a service is subscribed to the topic.
        """
        if self._stranger is None:
            self._stranger = self._connect(None, self._name("stranger"))
            self._stranger.start()
        outcomes: list[Outcome] = []
        number = f"stranger-{len(self._sent) + 1}"
        message = encode(Message(body=data, to=topic, reply_to=reply_to, message_id=number, durable=True))

        def told(outcome: Outcome, condition: Condition | None) -> None:
            outcomes.append(outcome)

        self._stranger.publish(topic, message, mandatory=True, on_outcome=told)
        self._hub.until(lambda: outcomes, 60.0)
        return outcomes == [Outcome.ACCEPTED]

    def cut(self) -> None:
        """Cut all connections to this broker. They are made again after a moment of its time."""
        for member in tuple(self._hub.members):
            if isinstance(member, Memory):
                member.cut()

    def _connect(self, addresses: object, client_id: str, on_state: Any = None) -> Memory:
        """Return a transport, as `mqlight.connection.Connection` does."""
        memory = Memory(self._hub, client_id, on_state)
        memory.sent = lambda topic, message: self._sent.append((topic, message))
        return memory

    def _name(self, wanted: str) -> str:
        """Return a client id that no other client of this broker has."""
        name, number = wanted, 1
        while name in self._names:
            number += 1
            name = f"{wanted}_{number}"
        self._names.add(name)
        return name


class Client(macaque.client.Client):
    """A client of a broker in memory. Functions run in the thread that calls or waits; a wait takes no real time.

    Its calls have usually ended when `call` returns, and callbacks have run. An exception of a callback is raised by
    `call` itself, or by the function that waits.
    """

    def __init__(self, broker: Broker, *, timeout: float = macaque.client.TIMEOUT) -> None:
        self.broker = broker
        """The broker of this client."""
        self.clock = broker.clock
        """The clock of the broker."""
        self._connect = broker._connect  # type: ignore[assignment]
        super().__init__(ANYWHERE, broker._name("client"), timeout=timeout)

    def _begin(self, name: str) -> None:
        super()._begin(name)
        self._calls._wakeups = AttendedWakeups(self.broker._hub)
        self._calls.callbacks.watched = True  # the process need not live for callbacks that have run already


@contextmanager
def client(
    *apps: Server, clients: Iterable[macaque.client.Client] = (), timeout: float = macaque.client.TIMEOUT
) -> Iterator[Client]:
    """Serve apps on a broker in memory, and return a client of it: `with macaque.testing.client(app) as client:`.

    Args:
        apps: the servers with the services. They do not change.
        clients: clients that the services themselves use; see `Broker.borrow`.
        timeout: the default timeout of a call, in seconds of the client's `clock`.
    """
    with Broker() as broker, broker.borrow(*clients):
        broker.serve(*apps)
        yield broker.client(timeout=timeout)
