"""One HTTP connection: strict about what it reads, within bounds and in time, before the application sees any of it.

gevent's handler has the protocol; what it leaves open is decided here:

* Whatever is read has a deadline as a whole, so that a byte now and then buys no time, and a size. A response that is
  not taken ends the connection too. While the application works (a held poll), no clock runs.
* A request of which two readers could think differently (two lengths, a length and chunks, a folded header) is refused:
  a proxy before this may be the other reader.
* The body is read before the application is called, and it gets only whole ones.
* What is refused is answered like everything else, by JSON with the security headers, and ends the connection.
"""

from __future__ import annotations

import errno
import io
import logging
import re
import socket
from http import HTTPStatus
from http.client import HTTPMessage
from time import monotonic
from typing import TYPE_CHECKING, Any

import msgspec
from gevent.monkey import get_original
from gevent.pywsgi import (  # type: ignore[attr-defined]  # the stubs leave the second one out
    WSGIHandler,
    headers_factory,
)

from frontend.answer import SECURITY_HEADERS, Problem, shown
from frontend.app import CONNECTION_IS_OPEN

if TYPE_CHECKING:
    from frontend.listener import Server

MAX_REQUEST_LINE = 8192
MAX_HEADER_LINES = 100
HEADER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*\r?\n")
LINGER_SECONDS = 1.0
LINGER_BYTES = 1_048_576
"""How much of what a refused client still sends is read, so that the answer reaches it before the connection ends."""

log = logging.getLogger(__name__)


class Incoming(io.RawIOBase):
    """The bytes of a connection as they come, until `deadline`, a time of `monotonic`; then TimeoutError."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)


def is_open(connection: socket.socket) -> bool:
    """Return whether the peer of a connection is still there, as far as this end can know without waiting."""
    poll = get_original("select", "poll")()
    poll.register(connection, get_original("select", "POLLIN"))
    try:
        return not poll.poll(0) or connection.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


def check(command: str, path: str, version: str, headers: HTTPMessage) -> None:
    """Raise Problem for a request head that could be understood in two ways, or that this server does not know."""
    if version not in ("HTTP/1.0", "HTTP/1.1"):
        raise Problem(505, "This server speaks HTTP/1.1 and HTTP/1.0.")
    hosts = headers.get_all("host", [])
    if len(hosts) > 1 or (not hosts and version == "HTTP/1.1"):
        raise Problem(400, "The request must have one Host header.")
    lengths, codings = headers.get_all("content-length", []), headers.get_all("transfer-encoding", [])
    if len(lengths) + len(codings) > 1:
        raise Problem(400, "The request must have one Content-Length or one Transfer-Encoding, not more.")
    if lengths and not re.fullmatch("[0-9]{1,15}", lengths[0]):
        raise Problem(400, f"The Content-Length {shown(lengths[0])} is not a number of bytes.")
    if codings and (codings[0].lower() != "chunked" or version == "HTTP/1.0"):
        raise Problem(501, "The only Transfer-Encoding that this server knows is chunked, in HTTP/1.1.")
    if not re.fullmatch(r"/[!-~]*|\*", path):
        raise Problem(400, f"The target {shown(path)} is not a path: it must begin with a slash, and be ASCII.")


def raw_response(problem: Problem) -> bytes:
    """Return the response to a request that does not reach the application; the connection ends with it."""
    body = msgspec.json.encode(problem.document())
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **({} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}),
        **SECURITY_HEADERS,
    }
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Handler(WSGIHandler):
    """See the module. It also lets the application ask whether the client is still there, so that no word is given to
    a closed page."""

    server: Server

    def __init__(self, connection: socket.socket, address: Any, server: Server) -> None:
        super().__init__(connection, address, server)
        self.rfile.close()
        self._incoming = Incoming(connection)
        self.rfile = io.BufferedReader(self._incoming)
        self._settings = server.settings
        self._is_first = True

    # Reading a request. What these raise comes out of `handle_one_request`, directly or by `_handle_client_error`.

    def handle_one_request(self) -> Any:
        try:
            return super().handle_one_request()
        except Problem as problem:
            return self._refuse(problem)
        except OSError:
            return None  # there is nobody left to answer

    def read_requestline(self) -> str:
        wait = self._settings.header_timeout if self._is_first else self._settings.idle_timeout
        self._incoming.deadline = monotonic() + wait
        self.rfile.peek(1)  # silence before a request is no mistake, and gets no answer
        if not self._is_first:
            self._incoming.deadline = monotonic() + self._settings.header_timeout
        self._is_first = False
        try:
            line: str = super().read_requestline()
        except TimeoutError:
            raise self._too_slow("request line", "FRONTEND_HEADER_TIMEOUT", self._settings.header_timeout) from None
        if len(line) >= MAX_REQUEST_LINE:
            raise Problem(414, f"The request line is longer than {MAX_REQUEST_LINE} bytes: ask for a shorter path.")
        return line

    def MessageClass(self, *args: Any) -> Any:  # noqa: N802 (gevent's name)
        """Read the headers, and return them as gevent wants them."""
        assert self.command is not None and self.path is not None and self.request_version is not None
        try:
            lines = self._header_lines()
        except TimeoutError:
            raise self._too_slow("headers", "FRONTEND_HEADER_TIMEOUT", self._settings.header_timeout) from None
        headers = headers_factory(io.BytesIO(b"".join([*lines, b"\r\n"])))
        self.path = re.sub(r"^https?://[^/?]*(?=/)", "", self.path)  # as a client that thinks it talks to a proxy
        check(self.command, self.path, self.request_version, headers)
        if int(headers.get("content-length", 0)) > self._settings.max_body:
            raise self._too_large()
        return headers

    def _header_lines(self) -> list[bytes]:
        room = self._settings.max_headers
        lines: list[bytes] = []
        while True:
            line = self.rfile.readline(room + 1)
            room -= len(line)
            if room < 0:
                most = f"{self._settings.max_headers} bytes (FRONTEND_MAX_HEADERS)"
                raise Problem(431, f"The headers are larger than {most}: send fewer or shorter ones.")
            if line in (b"\r\n", b"\n"):
                return lines
            if not line.endswith(b"\n"):
                raise ConnectionResetError(errno.ECONNRESET, "the client went away")
            if not HEADER.fullmatch(line):
                raise Problem(400, f"The header line {shown(line.decode('latin-1').rstrip())} is malformed.")
            lines.append(line)
            if len(lines) > MAX_HEADER_LINES:
                raise Problem(431, f"The request has more than {MAX_HEADER_LINES} headers: send fewer.")

    def _handle_client_error(self, ex: Exception) -> Any:
        if isinstance(ex, (Problem, OSError)):
            raise ex
        raise Problem(400, "This is not a request of HTTP/1.1.") from ex

    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ[CONNECTION_IS_OPEN] = lambda: is_open(self.socket)
        return environ

    # Answering it

    def handle_one_response(self) -> None:
        try:
            self._read_body()
        except Problem as problem:
            self._refuse(problem)
        except ConnectionError:
            self.close_connection = True
        else:
            super().handle_one_response()

    def _read_body(self) -> None:
        """Put the whole body where the application finds it."""
        assert self.environ is not None and self.wsgi_input is not None
        has_body = self.content_length is not None or self.wsgi_input.chunked_input
        body = b""
        if has_body:
            self.socket.settimeout(self._settings.send_timeout)  # for "100 Continue"
            self._incoming.deadline = monotonic() + self._settings.body_timeout
            try:
                body = self.wsgi_input.read(self._settings.max_body + 1)
            except TimeoutError:
                raise self._too_slow("body", "FRONTEND_BODY_TIMEOUT", self._settings.body_timeout) from None
            except ConnectionError:
                raise
            except OSError:
                raise Problem(400, "The body ends early, or its chunks are malformed.") from None
            if len(body) > self._settings.max_body:
                raise self._too_large()
            self.environ["CONTENT_LENGTH"] = str(len(body))
        self.environ.pop("HTTP_TRANSFER_ENCODING", None)
        self.environ["wsgi.input"] = io.BytesIO(body)

    def _sendall(self, data: Any) -> None:
        self.socket.settimeout(self._settings.send_timeout)
        try:
            super()._sendall(data)  # type: ignore[misc]  # gevent's stubs leave it out
        except TimeoutError as error:
            # This one gevent takes for what it is, the end of the connection.
            raise ConnectionResetError(errno.ECONNRESET, "the client does not read its response") from error

    def handle_error(self, t: Any, v: Any, tb: Any) -> None:
        """The application raised: log it, and answer unless it has begun to."""
        self._log_error(t, v, tb)  # type: ignore[attr-defined]  # gevent's stubs leave it out
        self.close_connection = True
        if not self.response_length:
            linger(self.socket, raw_response(Problem(500, "The front end failed; its log says why.")))

    def _too_slow(self, what: str, limit: str, seconds: float) -> Problem:
        return Problem(408, f"The {what} did not come within {seconds:g} seconds ({limit}).")

    def _too_large(self) -> Problem:
        most = f"{self._settings.max_body} bytes (FRONTEND_MAX_BODY)"
        return Problem(413, f"The body is larger than {most}: send the sentence in parts.")

    def _refuse(self, problem: Problem) -> None:
        """Answer, and end the connection when the client has had the chance to read that."""
        log.info("refused a request from %s: %s", self.client_address, problem)
        self.server.on_refused(problem.status)
        self.close_connection = True
        linger(self.socket, raw_response(problem))


def linger(connection: socket.socket, last_words: bytes) -> None:
    """Send the last bytes of a connection, and read for a moment what still comes: to close at once would take the
    answer away from a client that is still sending."""
    until = monotonic() + LINGER_SECONDS
    room = LINGER_BYTES
    try:
        connection.settimeout(LINGER_SECONDS)
        connection.sendall(last_words)
        connection.shutdown(socket.SHUT_WR)
        while room > 0 and (left := until - monotonic()) > 0:
            connection.settimeout(left)
            data = connection.recv(65_536)
            if not data:
                return
            room -= len(data)
    except OSError:
        pass
