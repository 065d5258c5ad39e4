"""A TCP connection, with or without TLS: one thread receives, any thread sends without waiting.

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
"""SO_LINGER: closing sends a reset, and drops what was not sent."""


class Tcp:
    """A connected socket.

    :param timeout: seconds for the connection and the TLS handshake.
    :raises OSError: it could not be made; ``ssl.SSLError`` and ``ssl.SSLCertVerificationError`` are among its children.
    """

    def __init__(self, host: str, port: int, *, tls: ssl.SSLContext | None, timeout: float) -> None:
        self._sock = socket.create_connection((host, port), timeout)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._tls: _Tls | None = None
        try:
            if tls is not None:
                self._tls = _Tls(self._sock, tls, host)
            # A second descriptor of the same socket: a time-out belongs to the object, and this one never waits.
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
        """Wait for bytes; empty at the end. Raises TimeoutError now and then, which means nothing, and OSError."""
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
        """Send what the socket takes at once; returns how many bytes, 0 when it is full. Raises OSError."""
        try:
            if self._tls is not None:
                return self._tls.send(self._out, data)
            return self._out.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    def wait_writable(self, timeout: float) -> None:
        """Wait until the socket takes more, ``timeout`` seconds at most."""
        with selectors.DefaultSelector() as selector:
            try:
                selector.register(self._out, selectors.EVENT_WRITE)
            except ValueError:
                return  # closed meanwhile
            selector.select(timeout)

    @property
    def unsent(self) -> bool:
        """Bytes that :meth:`send` took are still to be sent: call it again, if need be with nothing."""
        return self._tls is not None and self._tls.unsent

    def close(self) -> None:
        """End the connection, from any thread; one in :meth:`receive` gets the end of input.

        That thread also closes the descriptor: its number must not be used again while somebody waits on it.
        """
        self._close(socket.SHUT_RDWR)

    def abort(self) -> None:
        """The same without a goodbye, for a peer that is silent: what it has not got yet must not arrive later, in the
        midst of what the next connection says.
        """
        self._close(socket.SHUT_RD)

    def forget(self) -> None:
        """In the child of a fork: close the descriptors that it inherited, and say nothing to the peer."""
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
        """Send the alert, if there is one: the server's log can then say what was wrong."""
        try:
            sock.sendall(self._outgoing.read())
        except OSError:
            pass

    def decrypt(self, data: bytes) -> bytes:
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
        """All of ``data`` is encrypted or none: what the socket does not take is sent before anything else."""
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
