"""The MQ Light API: a client that connects and reconnects, sends to topics and listens to topic patterns.

The rules of this file:

* Functions of the application run one at a time, in the order of their events, on a thread of the client and never on
  the caller's. A slow function delays only the functions after it. A function that fails is logged.
* A request is accepted while the client starts, is started or retries. The client does it as soon as it can.
* Stopping ends all subscriptions of this client. Their destinations live on for their time to live.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from mqlight import arguments, payload
from mqlight.addresses import Addresses
from mqlight.connection import Connection, State
from mqlight.errors import StoppedError
from mqlight.inbox import Inbox, Subscriber
from mqlight.net import forks
from mqlight.outbox import Outbox

__all__ = ["Client"]

STOP_TIMEOUT = 10.0
"""Seconds that `stop` gives to messages that are not sent yet."""

Callback: TypeAlias = Callable[..., object]


class Client:
    """A client of an MQ Light service. The constructor begins to connect. The client reconnects until it is stopped.

    A program whose main thread ends lives on while one of its clients is not stopped. As a context manager, the client
    stops at the end of the block.

    Args:
        service: a URL (`amqp://host:port`, amqps, or an http(s) lookup URL), a list of URLs, or a function
            `f(callback)` that calls `callback(err, services)`.
        client_id: 1 to 256 letters, digits and `% / . _`. A second client with the same id replaces the first one. The
            default is `AUTO_` and seven random digits.
        security_options: a dict with `user`, `password`, `ssl_trust_certificate`, `ssl_client_certificate`,
            `ssl_client_key`, `ssl_client_key_passphrase`, `ssl_verify_name`.
        on_started: called `(client)` when the client has started, not when it has reconnected.
        on_state_changed: called `(client, state, err)` when the state changes, and for each attempt that fails;
            `err` is None or the reason.
        on_drain: called `(client)` when all messages are sent after `send` has returned False.

    Raises:
        TypeError, InvalidArgumentError: an argument cannot be used.
    """

    def __init__(
        self,
        service: object,
        client_id: str | None = None,
        security_options: Mapping[str, object] | None = None,
        on_started: Callback | None = None,
        on_state_changed: Callback | None = None,
        on_drain: Callback | None = None,
    ) -> None:
        self._chosen = None if client_id is None else arguments.client_id(client_id)
        self._addresses = Addresses.of(service, security_options)
        self._on_started = arguments.callback("on_started", on_started, 1)
        self._on_state_changed = arguments.callback("on_state_changed", on_state_changed, 3)
        self._on_drain = arguments.callback("on_drain", on_drain, 1)
        self._begin(self._chosen or arguments.auto_client_id(secrets.randbits(28)))
        forks.register(self, Client._after_fork)
        self.start()

    def _begin(self, name: str) -> None:
        """Make this a client with the id ``name`` that was never started."""
        self._id = name
        self._forked = False
        """Whether this client was copied by a fork and is not started in the child."""
        self._lock = threading.Lock()
        self._starting: list[Callback] = []
        self._stopping: list[Callback] | None = None
        self._connection = Connection(self._addresses, name, on_state=self._state_changed, daemon=False)
        self._lane = self._connection.lane(1)
        self._outbox = Outbox(self, self._connection, self._lane, self._on_drain)
        self._inbox = Inbox(self, self._connection, self._lane)

    def _after_fork(self) -> None:
        """Stop this client in the child of a fork: its connection, subscriptions and messages belong to the parent.

        `start`, or the first message or subscription, makes a new connection for the child, with a new client id.
        """
        ran = self._connection.state is not State.STOPPED
        if self._chosen is None:
            self._begin(arguments.auto_client_id(secrets.randbits(28)))
        else:
            self._begin(forks.child_id(self._chosen))
        self._forked = ran

    def __repr__(self) -> str:
        return f"<mqlight.Client {self._id} {self.state}>"

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopped = threading.Event()
        self.stop(lambda client, err: stopped.set())
        stopped.wait(2 * STOP_TIMEOUT)

    # The client's properties

    def get_id(self) -> str:
        """Return the client id."""
        return self._id

    def get_service(self) -> str | None:
        """Return the URL of the connected server without user and password, or None without a connection."""
        return self._connection.url if self.state == State.STARTED.value else None

    def get_state(self) -> str:
        """Return one of the texts STOPPED, STARTING, STARTED, RETRYING, STOPPING of this package."""
        state = self._connection.state
        if self._stopping is not None and state is not State.STOPPED:
            state = State.STOPPING
        return state.value

    @property
    def state(self) -> str:
        """The same as `get_state`."""
        return self.get_state()

    def is_stopped(self) -> bool:
        """Return whether the client is stopped: by `stop`, or because a new attempt would fail again."""
        return self.state == State.STOPPED.value

    # Life

    def start(self, on_started: Callback | None = None) -> Client:
        """Start the client if it is stopped. Returns the client at once.

        Args:
            on_started: called `(client)` when the client has started; the default is the constructor's function.

        Raises:
            TypeError: `on_started` cannot be called with these arguments.
            StoppedError: the client is stopping.
        """
        on_started = arguments.callback("on_started", on_started, 1)
        state = self.state
        if state == State.STOPPING.value:
            raise StoppedError("the client is stopping; start it again when it has stopped", client_id=self._id)
        if state != State.STOPPED.value:
            with self._lock:
                started = self._connection.state is State.STARTED
                if on_started is not None and not started:
                    self._starting.append(on_started)
            if on_started is not None and started:
                self._lane.submit(on_started, self)
            return self
        with self._lock:
            chosen = on_started or self._on_started
            self._starting = [] if chosen is None else [chosen]
        self._forked = False
        self._inbox.open()
        self._connection.start()
        return self

    def stop(self, on_stopped: Callback | None = None) -> Client:
        """Stop the client. Returns it at once. Messages that are not sent yet have up to ten seconds to go out.

        Args:
            on_stopped: called `(client, None)` when the client has stopped.

        Raises:
            TypeError: `on_stopped` cannot be called with these arguments.
        """
        on_stopped = arguments.callback("on_stopped", on_stopped, 2)
        wanted = [] if on_stopped is None else [on_stopped]
        with self._lock:
            if self._stopping is not None:
                self._stopping += wanted
                return self
            stopped = self._connection.state is State.STOPPED
            if not stopped:
                self._stopping = wanted
        if stopped:
            for function in wanted:
                self._lane.submit(function, self, None)
            return self
        self._inbox.close()
        # On an existing thread: Python 3.12 and later start no thread once the main thread has ended.
        self._connection.run_soon(self._stop)
        return self

    def _stop(self) -> None:
        try:
            self._connection.stop(STOP_TIMEOUT)
        finally:
            with self._lock:
                wanted, self._stopping = self._stopping or [], None
        for function in wanted:
            self._lane.submit(function, self, None)

    def _state_changed(self, state: State, error: Exception | None) -> None:
        """Report a new state. Runs under the connection's lock."""
        submit = self._lane.submit
        if self._on_state_changed is not None:
            submit(self._on_state_changed, self, state.value, error)
        with self._lock:
            started: list[Callback] = []
            if state is State.STARTED:
                started, self._starting = self._starting, []
            elif state is State.STOPPED:
                self._starting = []
        for function in started:
            submit(function, self)
        if state is State.STOPPED:
            reason = "the client was stopped before it was subscribed"
            self._inbox.ended(error or StoppedError(reason, client_id=self._id))

    def _check_started(self) -> None:
        if self._forked:
            self.start()
        if self._stopping is not None or self._connection.state in (State.STOPPED, State.STOPPING):
            raise StoppedError("the client is stopped or stopping; start it first", client_id=self._id)

    # Sending

    def send(
        self, topic: str, data: object, options: dict[str, Any] | None = None, on_sent: Callback | None = None
    ) -> bool:
        """Send a message to a topic. Blocks only while a thousand messages wait.

        Args:
            data: text, bytes, or a value that JSON can carry.
            options: `qos`, 0 (at most once, the default) or 1 (at least once), and `ttl`, milliseconds up to 30 days.
            on_sent: called `(client, err, topic, data, options)` when the message is sent (qos 0) or when the server
                has accepted it (qos 1); `err` is None or the reason of a failure. Required for qos 1.

        Returns:
            Whether the message went out or is the next one. False asks the application to wait for `on_drain`.

        Raises:
            TypeError, RangeError, InvalidArgumentError: an argument is invalid.
            StoppedError: the client is not started.
        """
        topic = arguments.topic(topic)
        arguments.data(data)
        on_sent = arguments.callback("on_sent", on_sent, 5)
        checked = arguments.send_options(options, on_sent)
        message = payload.pack(topic, data, checked.ttl)
        self._check_started()
        return self._outbox.send(topic, message, data, checked, on_sent)

    # Receiving

    def subscribe(
        self,
        topic_pattern: str,
        share: str | None = None,
        options: dict[str, Any] | None = None,
        on_subscribed: Callback | None = None,
        on_message: Callback | None = None,
    ) -> Client:
        """Listen to a topic pattern. Returns the client at once.

        Args:
            topic_pattern: `+` stands for one level, `#` for any number of levels.
            share: a name. Each message goes to one of the clients that subscribe to this pattern with this name.
            options: `qos` 0 (default) or 1; `auto_confirm` (True), for qos 1: whether a message is confirmed when
                `on_message` has returned; `ttl` (0), milliseconds that the destination outlives its last subscriber,
                rounded up to whole seconds; `credit` (1024), the most unconfirmed messages that the client holds.
            on_subscribed: called `(client, err, topic_pattern, share)`; `err` is None or the reason of a failure.
            on_message: called `(message_type, data, delivery)` with `message_type` MESSAGE or MALFORMED. `delivery` is
                `{"message": {"topic", "ttl", "confirm_delivery"}, "destination": {"topic_pattern", "share"},
                "malformed": {...}}`, with the members that apply. If the function raises at qos 1 and the message is
                not confirmed, the message goes back to the server after a second as a failed delivery attempt.

        Raises:
            TypeError, RangeError, InvalidArgumentError: an argument is invalid.
            StoppedError: the client is not started.
            SubscribedError: the client already has this subscription.
        """
        topic_pattern = arguments.topic_pattern(topic_pattern)
        share = arguments.share(share)
        checked = arguments.subscribe_options(options)
        on_subscribed = arguments.callback("on_subscribed", on_subscribed, 4)
        on_message = arguments.callback("on_message", on_message, 3)
        self._check_started()
        self._inbox.subscribe(Subscriber(topic_pattern, share, checked, on_subscribed, on_message))
        return self

    def unsubscribe(
        self,
        topic_pattern: str,
        share: str | None = None,
        options: dict[str, Any] | None = None,
        on_unsubscribed: Callback | None = None,
    ) -> Client:
        """Stop listening to a topic pattern. Returns the client at once. Unconfirmed messages go back to the server.

        Args:
            options: `ttl` 0 deletes the destination. Without it, the destination lives on for its time to live.
            on_unsubscribed: called `(client, err, topic_pattern, share)`.

        Raises:
            TypeError, RangeError, InvalidArgumentError: an argument is invalid.
            StoppedError: the client is not started.
            UnsubscribedError: the client has no such subscription.
        """
        topic_pattern = arguments.topic_pattern(topic_pattern)
        share = arguments.share(share)
        ttl = arguments.unsubscribe_options(options)
        on_unsubscribed = arguments.callback("on_unsubscribed", on_unsubscribed, 4)
        self._check_started()
        self._inbox.unsubscribe(topic_pattern, share, ttl, on_unsubscribed)
        return self
