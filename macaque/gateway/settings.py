"""The settings of a gateway: the options of `macaque gateway`, checked together. Pure."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from macaque.gateway.allowed import check_pattern

__all__ = ["Settings"]

HOSTNAME = re.compile(r"\.?\w[\w.-]*(:[0-9]{1,5})?")
ORIGIN = re.compile(r"https?://([\w.-]+|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a gateway. Times are in seconds, sizes in bytes."""

    allow: tuple[str, ...] = ()
    """Patterns of the topics that may be called."""
    subscribe: tuple[str, ...] = ()
    """Patterns of the topics whose messages may be read."""
    host: str = "127.0.0.1"
    port: int = 8080
    tokens: str | None = None
    """The path of the file with the tokens of callers."""
    public: bool = False
    """Whether anyone may call without a token."""
    hostnames: tuple[str, ...] = ()
    """The names under which callers reach the gateway; empty: any name, and on loopback without tokens, `localhost`."""
    cors: tuple[str, ...] = ()
    """The origins whose pages may call; `*` is any origin."""
    page: str | None = None
    """The path of a folder with static files."""
    docs: bool = True
    """Whether `/openapi.json` and `/` tell about the services."""
    timeout: float = 30.0
    """The most seconds that a call may take."""
    stream_timeout: float = 3600.0
    """The most seconds that a stream may take."""
    max_body: int = 1_048_576
    rate: str | None = None
    """The most requests of a token, or of an address: `100/second`."""
    calls: int = 500
    """The most calls of a worker process at a time."""
    streams: int = 1000
    """The most streams of a worker process at a time."""
    workers: int = 1
    proxies: int = 0
    """The number of trusted proxies in front of the gateway."""
    drain_timeout: float = 10.0
    """Seconds that running calls have at the end."""
    health_host: str = "127.0.0.1"
    health_port: int | None = None
    log_level: str = "info"
    log_format: str = "text"
    leave_with_parent: bool = False
    """Whether the end of standard input ends the gateway: its other end is held by the process that started it."""

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine reach the gateway."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host.lower() == "localhost"

    def check(self, has_tokens: bool) -> None:
        """Raise ValueError, with a sentence for the user, if the settings do not fit together.

        Args:
            has_tokens: whether there are tokens, in the file or in the environment.
        """
        if not self.allow and not self.subscribe:
            raise ValueError("nothing is allowed: name the topics that may be called, for example --allow 'todo/#'")
        for pattern in (*self.allow, *self.subscribe):
            check_pattern(pattern)
        if self.public and has_tokens:
            raise ValueError("--public lets anyone call without a token, and there are tokens: choose one of both")
        if not (self.is_loopback or self.public or has_tokens):
            raise ValueError(
                f"every program that reaches {self.host} could call: give --tokens FILE or MACAQUE_GATEWAY_TOKEN, or "
                "--public if anyone may call"
            )
        if self.proxies and not (self.public or has_tokens):
            raise ValueError(
                f"--proxies {self.proxies} lets callers in from elsewhere: give --tokens FILE or "
                "MACAQUE_GATEWAY_TOKEN, or --public if anyone may call"
            )
        for name in self.hostnames:
            if not HOSTNAME.fullmatch(name):
                raise ValueError(f"--hostname {name} is not a host name; one is shop.example.com")
        for origin in self.cors:
            if origin == "*" and not (self.public or has_tokens):
                raise ValueError("--cors '*' would let every page on the web call: name the origins")
            if origin != "*" and not ORIGIN.fullmatch(origin):
                raise ValueError(f"--cors {origin} is not an origin; one is https://shop.example.com")
        if self.workers > 1 and self.health_port:
            raise ValueError(
                f"{self.workers} workers cannot share the health port {self.health_port}: give --health-port 0, "
                "or one worker"
            )
