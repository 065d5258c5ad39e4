"""The connections to a server, one after the other: make one, read from it, and make the next one when it is lost.

An error in what was read ends its connection, and nothing ends the reading: a client that is alive and no longer
consumes is the worst failure, because nothing reports it.
"""

from __future__ import annotations

import logging
import random
import secrets
import ssl
import sys
import threading
from collections.abc import Callable
from time import monotonic

from mqlight.addresses import Addresses, Endpoint
from mqlight.amqp.engine import Engine
from mqlight.amqp.types import Condition
from mqlight.errors import MQLightError, NetworkError, SecurityError
from mqlight.log import Log
from mqlight.net.crew import Crew
from mqlight.net.driver import Driver
from mqlight.net.tcp import Tcp
from mqlight.net.waiters import Waiters
from mqlight.outlet import Outlet
from mqlight.protocol import ClientProtocol
from mqlight.reconnect import Decision, Reconnect
from mqlight.security import tls_error
from mqlight.state import State, Status

__all__ = ["Connector"]

log = Log(__name__)

ABOUT_US = {"product": "mqlight", "platform": f"Python {sys.version.split()[0]}"}
"""The properties in the client's open frame. The server's console shows them as the kind of client."""
CONNECT_TIMEOUT = 10.0
"""Seconds that a server has for the connection, and again for its greeting; less if the heartbeat is shorter."""
CLOSE_TIMEOUT = 1.0
"""Seconds that the server has to answer the close frame."""


class Connector:
    """The thread with the reading role runs :meth:`read`, and the clock's thread runs :meth:`tick`.

    Args:
        addresses: The addresses, tried in order, again and again.
        client_id: AMQP's container id.
        heartbeat: Seconds of silence after which the server counts as gone, unless its URL says otherwise.
        lock: The lock of the owner.
        crew: The threads of the owner. The crew decides which thread reads.
        status: Gets the changes of state.
        wake: Called with the time at which to call :meth:`tick` at the latest.
        end: Called under the lock with the error after which no further attempt makes sense.
    """

    def __init__(
        self,
        addresses: Addresses,
        client_id: str,
        heartbeat: float,
        lock: threading.RLock,
        crew: Crew,
        status: Status,
        *,
        wake: Callable[[float], None],
        end: Callable[[Exception], None],
    ) -> None:
        self.protocol = ClientProtocol(on_state=self._on_state, on_room=status.notify, wake=wake, clock=monotonic)
        self.waiters = Waiters(crew, self._read_briefly, self._lose)
        self.outlet = Outlet(lock, crew, status, self.waiters, self.protocol.senders, self.protocol.timers)
        self._addresses = addresses
        self._client_id = client_id
        self._heartbeat = heartbeat
        self._lock = lock
        self._crew = crew
        self._status = status
        self._wake = wake
        self._end = end
        self._reconnect = Reconnect()
        self._stopping = threading.Event()

    def start(self) -> None:
        """Begin anew, after a stop."""
        self._stopping = threading.Event()
        self._reconnect = Reconnect()

    def leave(self, deadline: float) -> None:
        """Take no more messages, finish, and close the connection, under the lock.

        Messages that are unfinished at ``deadline``, in seconds of the monotonic clock, are released.
        """
        senders, subscriptions = self.protocol.senders, self.protocol.subscriptions

        def wait(done: Callable[[], object]) -> None:
            self._status.wait(lambda: not senders.connected or done(), deadline)

        subscriptions.pause()
        self.outlet.flush()
        wait(lambda: not subscriptions.holds)
        if senders.connected and (left := subscriptions.release_held()):
            log.warning("%s stops with %d unfinished messages; they go back to the server", self._client_id, left)
        wait(lambda: not senders.outstanding)
        wait(lambda: not subscriptions.forgets)
        if self.outlet.driver is not None and senders.connected:
            self.outlet.driver.engine.close()
            self.outlet.flush()
            self._status.wait(lambda: self.outlet.driver is None, min(deadline, monotonic() + CLOSE_TIMEOUT))

    def stop(self, condition: Condition) -> None:
        """End the connection and all attempts. Report ``condition`` to every waiting request. Needs the lock."""
        self._stopping.set()
        self.outlet.drop()
        self.protocol.give_up(condition)

    # The reading role

    def read(self, epoch: int) -> None:
        """Connect and read, until the calling thread loses the reading role."""
        crew, outlet, waiters = self._crew, self.outlet, self.waiters
        while crew.keeps_reading(epoch):
            if crew.ready:
                waiters.row = 0
                if not crew.run_ready(epoch):
                    return
            elif waiters.waiting and waiters.stand_by(epoch):
                continue
            driver = outlet.driver
            if driver is not None:
                with self._lock:
                    outlet.flush()
                self._receive(driver, epoch, True)
            elif not self._connect(epoch):
                return

    def _read_briefly(self, epoch: int) -> bool:
        """Read once, in a thread that waits for a reply. Return False if nothing comes, or there is no connection."""
        driver = self.outlet.driver
        if driver is None or not self._crew.keeps_reading(epoch):
            return False
        with self._lock:
            self.outlet.flush()
        if not driver.wait_readable():
            return False
        self._receive(driver, epoch, False)
        return True

    def _receive(self, driver: Driver, epoch: int, patient: bool) -> None:
        try:
            try:
                data = driver.receive(patient)
            except TimeoutError:
                return
            except OSError as broken:
                data = b""
                driver.broken = broken
            with self._lock:
                if self.outlet.driver is driver:
                    self._take(driver, data, epoch)
        except BaseException:  # such as a time-out of gevent: bytes may be lost, so the connection must be made again
            with self._lock:
                if self.outlet.driver is driver:
                    self.outlet.tear()
            raise

    def _take(self, driver: Driver, data: bytes, epoch: int) -> None:
        try:
            driver.take(data)
        except Exception as error:  # otherwise this thread ends, and no thread reads any more
            log.exception("%s sent invalid data; the connection is closed", driver.url)
            self._status.error = NetworkError(f"{driver.url} sent invalid data: {error}", url=driver.url)
            driver.engine.closed = True
        if driver.engine.closed:
            self._lost(driver, epoch)

    def _lose(self, epoch: int) -> None:
        """End the connection, because a thread was stopped while it read, maybe with received bytes."""
        with self._lock:
            driver = self.outlet.driver
            if driver is not None:
                said = f"a thread was stopped while it read from {driver.url}"
                self._status.error = NetworkError(said, url=driver.url)
                self._lost(driver, epoch)

    def _lost(self, driver: Driver, epoch: int) -> None:
        """Handle the end of a connection: its reason decides the next step. Runs under the lock."""
        self.outlet.flush()
        self.outlet.drop()
        self.protocol.end()
        error = self._status.error
        if not isinstance(error, MQLightError):
            error = NetworkError(f"{driver.url} closed the connection", url=driver.url)
        if driver.speaks_tls:
            said = f"{driver.url}: the server speaks TLS on this port; use an amqps:// URL"
            error = SecurityError(said, url=driver.url)
        elif isinstance(driver.broken, ssl.SSLError) and driver.greeted_at is None:
            error = tls_error(driver.url, driver.broken)  # TLS 1.3 refuses a client's certificate after the handshake
        if self._goes_on(epoch):
            self._decide(self._reconnect.lost(error, monotonic(), driver.greeted_at), error, driver.url)
        else:
            self._status.notify()

    def _failed(self, error: MQLightError, epoch: int) -> None:
        """Handle a failed attempt to connect: its reason decides the next step."""
        with self._lock:
            if self._goes_on(epoch):
                self._decide(self._reconnect.failed(error), error)

    def _goes_on(self, epoch: int) -> bool:
        return self._crew.keeps_reading(epoch) and self._status.state is not State.STOPPING

    def _decide(self, decision: Decision, error: MQLightError, url: str = "") -> None:
        if decision is Decision.GIVE_UP:
            log.error("%s stops: %s", self._client_id, error)
            self._end(error)
        elif decision is Decision.NEXT_ENDPOINT:
            log.info("%s; trying the next one", error)
        else:
            if decision is Decision.COME_BACK:
                log.warning("connection to %s lost, trying again: %s", url, error)
            else:
                level = logging.WARNING if self._reconnect.is_news else logging.DEBUG
                log.log(level, "%s; trying again until it works", error)
            self._status.set(State.RETRYING, error)

    def _connect(self, epoch: int) -> bool:
        """Try the next endpoint, after a pause if all were tried. Returns False if this thread must stop reading."""
        stopping, crew, reconnect = self._stopping, self._crew, self._reconnect
        if not self._goes_on(epoch):
            return False
        if reconnect.round_is_over:
            stopping.wait(reconnect.pause(monotonic(), random.random()))
            if not crew.keeps_reading(epoch):
                return False
            reconnect.begin_round(monotonic())
            try:
                reconnect.add(self._addresses.urls())
            except MQLightError as error:
                self._failed(error, epoch)
                return True
        endpoint = reconnect.next_endpoint()
        try:
            self._open(endpoint, epoch)
        except MQLightError as error:
            self._failed(error, epoch)
        except Exception as error:  # otherwise this thread ends, and no thread tries again
            log.exception("the attempt to connect to %s failed", endpoint.url)
            self._failed(NetworkError(f"cannot connect to {endpoint.url}: {error}", url=endpoint.url), epoch)
        return True

    def _open(self, endpoint: Endpoint, epoch: int) -> None:
        """Connect to one endpoint and send the open frame. Raises MQLightError."""
        url = endpoint.url
        heartbeat = endpoint.heartbeat or self._heartbeat
        timeout = min(CONNECT_TIMEOUT, heartbeat)
        try:
            tcp = Tcp(endpoint.host, endpoint.port, tls=self._addresses.tls(endpoint), timeout=timeout)
        except OSError as error:
            raise _connect_error(url, error, timeout) from error
        with self._lock:
            if not self._crew.keeps_reading(epoch):
                tcp.close()
                return
            engine = Engine(
                self.protocol,
                server=False,
                container_id=self._client_id,
                hostname=f"vhost:{vhost}" if (vhost := endpoint.options.get("vhost")) else endpoint.host,
                user=endpoint.user,
                password=endpoint.password,
                external=endpoint.scheme == "amqps" and self._addresses.shows_certificate,
                heartbeat=heartbeat,
                properties=ABOUT_US,
            )
            self.outlet.driver = Driver(tcp, engine, url, monotonic() + timeout)
            self.protocol.begin(engine, self._client_id, endpoint.options, secrets.token_hex(4))
            self.outlet.flush()
        self._wake(0.0)

    def _on_state(self, connected: bool, error: MQLightError | None) -> None:
        driver, status = self.outlet.driver, self._status
        if connected:
            if driver is not None:
                driver.greeted_at = monotonic()
                self._wake(0.0)  # the server has told how often it wants heartbeats
            self._reconnect.greeted()
            if status.state is not State.STOPPING:
                log.info("connected to %s as %s", driver.url if driver is not None else None, self._client_id)
                status.set(State.STARTED, None)
        elif error is not None:
            status.error = error

    # The clock

    def tick(self, now: float) -> float | None:
        """Do the work that is due. Return the time when work is due again, None if none is."""
        with self._lock:
            due = [self.protocol.timers.run(now)]
            driver = self.outlet.driver
            if driver is not None:
                due += [driver.engine.tick(now), self.protocol.subscriptions.look(now)]
                silent, fault = driver.engine.closed, "was silent for longer than the heartbeat"
                if driver.greeted_at is None:
                    due.append(driver.answer_by)
                    silent, fault = (
                        silent or now >= driver.answer_by,
                        "accepted the connection, and then sent nothing",
                    )
                self.outlet.flush()
                if silent:
                    self._status.error = NetworkError(f"{driver.url} {fault}", url=driver.url)
                    driver.abort()  # the reading thread finds the end of input and continues from there
        return min((at for at in due if at is not None), default=None)


def _connect_error(url: str, error: OSError, timeout: float) -> MQLightError:
    if isinstance(error, ssl.SSLError):
        return tls_error(url, error)
    if isinstance(error, TimeoutError):
        return NetworkError(f"{url} did not answer within {timeout:g} s", url=url)
    return NetworkError(f"cannot connect to {url}: {error.strerror or error}", url=url)
