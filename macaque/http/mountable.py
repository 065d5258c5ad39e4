"""The part of a server that HTTP servers run: `app.wsgi` and `app.asgi`."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from macaque.blueprint import Registrar
from macaque.config import Config
from macaque.ids import made_up_id

if TYPE_CHECKING:
    from macaque.http.mount import Mount

__all__ = ["Mountable"]

S = TypeVar("S", bound="Mountable")


class Mountable(Registrar):
    """The part of a server that HTTP servers run. The code for it is imported when it is used."""

    config: Config
    """The settings, which are read when the server starts."""
    _connect: Any
    _discovery: bool
    _exit: Any
    _mount: Mount | None = None
    _wsgi: Any = None
    _asgi: Any = None

    def _begin(self, name: str) -> None:
        raise NotImplementedError

    @property
    def wsgi(self) -> Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]:
        """The services as an application of WSGI, for gunicorn, or to mount in Flask or Bottle.

        `POST /todo/list` with JSON calls the service at the topic `todo/list` inside of this process, without a broker.
        The answer is the JSON of the result, problem details for an error, or server-sent events for a stream. Types,
        hooks, time-outs and `macaque.Request` are the same as over AMQP. Services with `safe=True` have GET too.

        Raises:
            TypeError, ValueError: a setting is invalid.
        """
        if self._wsgi is None:
            from macaque.http.request import Limits
            from macaque.http.wsgi import Wsgi

            self.__dict__.setdefault("_wsgi", Wsgi(self._mounted(), Limits.of(self.config)))
        return self._wsgi  # type: ignore[no-any-return]

    @property
    def asgi(self) -> Callable[[Any, Any, Any], Awaitable[None]]:
        """The services as an application of ASGI, for uvicorn, or to mount in FastAPI or Starlette.

        It answers as `wsgi` does. A request takes no thread, and a caller that goes away cancels its call.

        Raises:
            TypeError, ValueError: a setting is invalid.
        """
        if self._asgi is None:
            from macaque.http.asgi import Asgi
            from macaque.http.request import Limits

            mount = self._mounted()
            self.__dict__.setdefault("_asgi", Asgi(mount, Limits.of(self.config), close=mount.close))
        return self._asgi  # type: ignore[no-any-return]

    def _mounted(self) -> Mount:
        if self._mount is None:
            from macaque.http.mount import Mount

            self.__dict__.setdefault("_mount", Mount(self._local_twin))  # one, for several threads
        return self._mount  # type: ignore[return-value]

    def _local_twin(self: S, connect: Any) -> S:
        twin = self._twin(connect, made_up_id())
        twin._discovery = False
        twin._exit = self._exit
        return twin

    def _twin(self: S, connect: Any, client_id: str) -> S:
        """Return a server with the services of this one, but with another connection and a state of its own."""
        twin = copy.copy(self)
        twin._connect = connect
        for own in "_mount", "_wsgi", "_asgi":
            twin.__dict__.pop(own, None)
        twin._begin(client_id)
        return twin
