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

_FOR_EVER = 3600.0
_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset, and drops unsent bytes."""


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
        self._tls: _Tls | None = None
        try:
            if tls is not None:
                self._tls = _Tls(self._sock, tls, host)
            # A second object for the same socket: each has its own time-out, and this one never waits.
            self._out = self._sock.dup()
        except BaseException:
            self._sock.close()
            raise
        self._out.settimeout(0)
        self._guard = threading.Lock()
        self._receiving = False
        self._closed = False
        self._sock.settimeout(_FOR_EVER)

    def receive(self) -> bytes:
        """Wait for bytes and return them, empty at the end.

        Raises:
            TimeoutError: no bytes came for an hour. The caller can ignore it.
            OSError: the connection failed.
        """
        with self._guard:
            if self._closed:
                return b""
            self._receiving = True
        try:
            while True:
                data = self._sock.recv(READ)
                if self._tls is None or not data:
                    return data
                if data := self._tls.decrypt(data):
                    return data
        finally:
            with self._guard:
                self._receiving = False
                if self._closed:
                    self._sock.close()

    def send(self, data: bytes) -> int:
        """Send the bytes that the socket takes at once. Return their number, 0 if it is full. Raises OSError."""
        try:
            if self._tls is not None:
                return self._tls.send(self._out, data)
            return self._out.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

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
        self._sock.close()
        self._out.close()

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
            if not self._receiving:
                self._sock.close()


class _Tls:
    """TLS over memory buffers, so that one thread may receive while another sends."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._pending = b""
        self._handshake(sock)

    @property
    def unsent(self) -> bool:
        return bool(self._pending)

    def _handshake(self, sock: socket.socket) -> None:
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(self._outgoing.read())
                data = sock.recv(CHUNK)
                if not data:
                    raise ConnectionError("the server closed the socket during the TLS handshake") from None
                self._incoming.write(data)
            except ssl.SSLError:
                self._tell(sock)
                raise
        sock.sendall(self._outgoing.read())

    def _tell(self, sock: socket.socket) -> None:
        """Send the TLS alert, if there is one, so that the server's log can name the fault."""
        try:
            sock.sendall(self._outgoing.read())
        except OSError:
            pass

    def decrypt(self, data: bytes) -> bytes:
        """Take received bytes and return the bytes in clear that they complete, maybe none."""
        with self._lock:
            self._incoming.write(data)
            plain = b""
            try:
                while part := self._tls.read(CHUNK):
                    plain += part
            except ssl.SSLWantReadError:
                pass
            return plain

    def send(self, sock: socket.socket, data: bytes) -> int:
        """Encrypt all of ``data`` or nothing, and send. Encrypted bytes that are left over are sent first."""
        with self._lock:
            taken = 0
            if data and not self._pending:
                taken = self._tls.write(data)
                self._pending = self._outgoing.read()
            while self._pending:
                try:
                    sent = sock.send(self._pending)
                except (BlockingIOError, InterruptedError):
                    break
                self._pending = self._pending[sent:]
            return taken
