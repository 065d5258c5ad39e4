"""Connect by TCP, with or without TLS. One thread receives; any thread sends without waiting.

The file uses only ``socket``, ``selectors`` and ``ssl``, so it runs on greenlets after ``gevent.monkey.patch_all()``.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import struct
import threading

from mqlight.amqp.engine import READ
from mqlight.amqp.output import CHUNK
from mqlight.net.tls import Tls

_FOR_EVER = 3600.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, and drops unsent bytes."""

BRIEF = 0.02
"""The most seconds of :meth:`Tcp.wait_readable`."""


class Tcp:
    """A connected socket.

    Args:
        tls: The TLS context, None for a connection without TLS.
        timeout: Seconds for the connection and the TLS handshake.

    Raises:
        OSError: the connection failed. ``ssl.SSLError`` and ``ssl.SSLCertVerificationError`` are subclasses.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float) -> None:
        self._sock = socket.create_connection((host, port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls = None if tls is None else Tls(tls, host)
        self._tls_lock = threading.Lock()
        self._early = b""
        """Bytes in clear that came with the end of the handshake."""
        try:
            if self._tls is not None:
                self._early = _shake_hands(self._sock, self._tls)
            # More objects for the same socket: each has its own time-out. One never waits, and one waits briefly.
            self._out = self._sock.dup()
            self._glance = self._sock.dup()
        except BaseException:
            self._sock.close()
            raise
        self._out.settimeout(0)
        self._glance.settimeout(BRIEF)
        self._guard = threading.Lock()
        self._receiving = False
        self._closed = False
        self._sock.settimeout(_FOR_EVER)

    def wait_readable(self) -> bool:
        """Wait until there is something to receive, at most ``BRIEF`` seconds. An interrupt of it loses no bytes."""
        try:
            self._glance.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            return False
        except OSError:
            pass  # receive raises it too, or knows that the socket was closed
        return True

    def receive(self, patient: bool = True) -> bytes:
        """Wait for bytes and return them, empty at the end.

        Args:
            patient: Whether to wait for the rest of a TLS record of which a part is there.

        Raises:
            TimeoutError: no bytes came for an hour, or there is a part of a TLS record. The caller can ignore it.
            OSError: the connection failed.
        """
        if self._early:
            data, self._early = self._early, b""
            return data
        with self._guard:
            if self._closed:
                return b""
            self._receiving = True
        try:
            while True:
                data = self._sock.recv(READ)
                if self._tls is None or not data:
                    return data
                with self._tls_lock:
                    if data := self._tls.receive(data):
                        return data
                if not patient:
                    raise TimeoutError("a part of a TLS record came")
        finally:
            with self._guard:
                self._receiving = False
                if self._closed:
                    self._sock.close()

    def send(self, data: bytes) -> int:
        """Send the bytes that the socket takes at once. Return their number, 0 if it is full. Raises OSError."""
        try:
            if self._tls is not None:
                return self._send_encrypted(self._tls, data)
            return self._out.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def _send_encrypted(self, tls: Tls, data: bytes) -> int:
        """Encrypt all of ``data`` or nothing, and send. Encrypted bytes that are left over are sent first."""
        with self._tls_lock:
            taken = 0
            if data and not tls.unsent:
                tls.write(data)
                taken = len(data)
            while encrypted := tls.output():
                try:
                    tls.sent(self._out.send(encrypted))
                except (BlockingIOError, InterruptedError):
                    break
            return taken

    def wait_writable(self, timeout: float) -> None:
        """Wait until the socket takes more, at most ``timeout`` seconds."""
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self._out, selectors.EVENT_WRITE)
            except ValueError:
                return  # closed meanwhile
            selector.select(timeout)

    @property
    def unsent(self) -> bool:
        """Whether bytes that :meth:`send` took are still unsent. Call it again then, if need be with no bytes."""
        return self._tls is not None and self._tls.unsent

    def close(self) -> None:
        """End the connection, from any thread. A thread in :meth:`receive` gets the end of input.

        That thread also closes the descriptor, whose number must not be used again while a thread waits on it.
        """
        self._close(socket.SHUT_RDWR)

    def abort(self) -> None:
        """End the connection with a reset, for a silent peer.

        Unsent bytes are dropped, so that they do not reach the peer late, during the next connection.
        """
        self._close(socket.SHUT_RD)

    def forget(self) -> None:
        """Close the inherited descriptors in the child of a fork, and send nothing to the peer."""
        self._closed = True
        for sock in (self._sock, self._out, self._glance):
            sock.close()

    def _close(self, how: int) -> None:
        with self._guard:
            if self._closed:
                return
            self._closed = True
            try:
                if how == socket.SHUT_RD:
                    self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self._sock.shutdown(how)
            except OSError:
                pass  # the peer was quicker
            self._out.close()
            self._glance.close()
            if not self._receiving:
                self._sock.close()


def _shake_hands(sock: socket.socket, tls: Tls) -> bytes:
    """Do the handshake of TLS. Return the bytes in clear that the server has sent already."""
    try:
        plain = tls.receive(b"")
        while True:
            while data := tls.output():
                sock.sendall(data)
                tls.sent(len(data))
            if tls.ready:
                return plain
            data = sock.recv(CHUNK)
            if not data:
                raise ConnectionError("the server closed the socket during the TLS handshake")
            plain = tls.receive(data)
    except ssl.SSLError:
        try:
            sock.sendall(tls.output())  # the TLS alert, if there is one, so that the server's log can name the fault
        except OSError:
            pass
        raise
