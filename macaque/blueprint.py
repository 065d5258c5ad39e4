"""The decorators that make functions services, or hooks around services, and blueprints of both.

A blueprint has services and hooks that are defined in one file, and served by the server that registers it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

from macaque.hooks import Hooks, Reply
from macaque.registry import MAX_DELIVERIES, Registry

__all__ = ["Blueprint", "Registrar"]

F = TypeVar("F", bound=Callable[..., Any])
Before = TypeVar("Before", bound=Callable[[], Any])
After = TypeVar("After", bound=Callable[[Reply], Reply | None])


class Registrar:
    """Records services and hooks. The base of servers and blueprints."""

    def __init__(self) -> None:
        self._hooks = Hooks()

    def service(
        self,
        endpoint: str,
        share_id: str | None = None,
        credit: int | None = None,
        *,
        max_deliveries: int = MAX_DELIVERIES,
        ttl: int | None = None,
        idempotent_for: float | None = None,
        timeout: float | None = None,
        safe: bool = False,
    ) -> Callable[[F], F]:
        """Make a function the service for a topic. It takes the data of a request and returns the data of the reply.

        The function itself does not change. It may run several times at once, in threads. If its parameter has an
        annotation, the data is decoded and checked by it. If its second parameter is annotated `macaque.Request`, it
        gets the request.

        Args:
            endpoint: a topic, or a pattern of topics.
            share_id: servers with one share_id share the requests, which wait while none of them is connected. Without
                it each connected server gets every request.
            credit: the number of requests that run at a time. None means the setting CREDIT, by default 5.
            max_deliveries: delivery attempts for a request whose worker dies, or for a one-way message whose function
                raises. Then it is a dead letter, and the caller gets RemoteError with code "undeliverable".
            ttl: seconds that requests are kept while no member of the share is connected. None means a day with a
                share, and 0 without one.
            idempotent_for: seconds that this server remembers its results: a repeated call with the same uuid gets the
                first result. None: the function runs again.
            timeout: seconds that the function has for a request. Then the caller gets RemoteError with code 504. The
                function goes on, and keeps its place in the credit until it returns. None means the setting TIMEOUT, by
                default no limit.
            safe: whether the function changes nothing, so that callers over HTTP may use GET (RFC 9110, section 9.2.1).

        Raises:
            TypeError, ValueError: an argument is invalid, or the function or its annotations cannot be used.
        """

        def register(function: F) -> F:
            self._register(
                endpoint, share_id, credit, function, max_deliveries=max_deliveries, ttl=ttl,
                idempotent_for=idempotent_for, timeout=timeout, safe=safe,
                scope=sys._getframe(1).f_locals,  # annotations may name classes of the function that has this decorator
            )  # fmt: skip
            return function

        if callable(endpoint):
            self._register(endpoint, None, 1, endpoint)  # raises: the decorator was used without its parentheses
        return register

    def before_request(self, function: Before) -> Before:
        """Call `function()` before each request.

        If it returns a value, that is the result, and the service does not run. The function finds the request in
        `macaque.request`. It shares one `contextvars.Context` with the service and the other hooks of the request.

        Raises:
            TypeError: the function is not plain, or takes arguments.
            RuntimeError: the server has started.
        """
        self._check_open("this function")
        self._hooks.add_before(function)
        return function

    def after_request(self, function: After) -> After:
        """Call `function(reply)` after each request, with its result or error. It may change or replace the reply.

        The function returns a `macaque.Reply`, or None to leave it as it is.

        Raises:
            TypeError: the function is not plain, or does not take one argument.
            RuntimeError: the server has started.
        """
        self._check_open("this function")
        self._hooks.add_after(function)
        return function

    def errorhandler(self, kind: type[Exception]) -> Callable[[F], F]:
        """Call `function(error)` for an exception of this class in a service. Its result is the result of the request.

        The most specific class decides; the handlers of a blueprint come before those of its server. The function may
        `macaque.abort`. It does not get the aborts of other code.

        Raises:
            TypeError: `kind` is no class of exceptions, or the function is not plain or does not take one argument.
            RuntimeError: the server has started.
        """

        def register(function: F) -> F:
            self._check_open("this function")
            self._hooks.add_handler(kind, function)
            return function

        return register

    def register_blueprint(self, blueprint: Blueprint, *, topic_prefix: str | None = None) -> None:
        """Serve the services of a blueprint, with its hooks inside of the hooks here.

        Args:
            topic_prefix: begins the topic of each service: "shop" and the topic "orders/pay" are "shop/orders/pay".

        Raises:
            TypeError, ValueError: the prefix is invalid, or a topic and share are taken.
            RuntimeError: this is a blueprint that is registered already.
        """
        if topic_prefix is not None and not isinstance(topic_prefix, str):
            raise TypeError(f"The topic_prefix {topic_prefix!r} is neither a str nor None.")
        blueprint._registered = True
        for (topic, *arguments), options in blueprint._recorded:
            if topic_prefix is not None:
                topic = f"{topic_prefix.removesuffix('/')}/{topic.removeprefix('/')}"
            hooks = (blueprint._hooks, *options.get("hooks", ()))
            self._register(topic, *arguments, **{**options, "hooks": hooks})

    def _register(self, topic: str, share_id: str | None, credit: int | None, function: Any, **options: Any) -> None:
        """Record a service; the arguments are those of `Registry.add`, whose `hooks` here lack those of this object."""
        raise NotImplementedError

    def _check_open(self, what: str) -> None:
        """Raise RuntimeError if it is too late to add something."""
        raise NotImplementedError


class Blueprint(Registrar):
    """Services and hooks for a server to register: `app.register_blueprint(orders, topic_prefix="shop")`.

    Args:
        name: names the blueprint in errors.

    Raises:
        TypeError, ValueError: the name is not a str, or empty.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if not isinstance(name, str):
            raise TypeError(f"The name of a blueprint is a str, not {name!r}.")
        if not name:
            raise ValueError("The name of a blueprint needs at least one character.")
        self.name = name
        self._registry = Registry()
        self._recorded: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._registered = False

    def __repr__(self) -> str:
        return f"<macaque.Blueprint {self.name}: {len(self._registry)} services>"

    def _register(self, *arguments: Any, **options: Any) -> None:
        self._check_open(f"the service {arguments[0]!r}")
        self._registry.add(*arguments, **options)  # raises here, and not where the blueprint is registered
        self._recorded.append((arguments, options))

    def _check_open(self, what: str) -> None:
        if self._registered:
            raise RuntimeError(f"The blueprint {self.name!r} is registered already, so {what} would have no effect.")
