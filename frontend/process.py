"""The front end as a process: environment in, exit code out."""

from __future__ import annotations

import logging
import os
import resource
import sys

import gevent

import macaque
from frontend.app import Frontend
from frontend.listener import BadAddress, address, listen, serve, url
from frontend.metrics import Metrics
from frontend.offload import Offload
from frontend.settings import BadSetting, Settings

CLOSE_TIMEOUT = 2.0
"""Seconds that the messaging client gets to say good-bye."""
OTHER_FILES = 100
"""Files that the process has open beside its connections."""

log = logging.getLogger(__name__)


def allow_connections(most: int) -> None:
    """Raise the limit of open files, which is often 1,024, to what so many connections need, as far as one may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = most + OTHER_FILES if hard == resource.RLIM_INFINITY else min(most + OTHER_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        if needed < most:
            log.warning("only %d files may be open, so there is no room for FRONTEND_MAX_CONNECTIONS=%d", needed, most)


def main() -> int:
    """Serve until told to stop; return the exit code of the process, 2 for a mistake in its environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        settings = Settings.of(os.environ)
        listening = listen(*address(os.environ))
        client = macaque.Client()
    except (BadSetting, BadAddress, TypeError, ValueError) as error:
        print(f"frontend: {error}", file=sys.stderr)
        return 2
    allow_connections(settings.max_connections)
    client.start()
    offload = Offload(client, settings)
    metrics = Metrics(offload, client)
    serve(
        listening,
        Frontend(offload, metrics, settings),
        settings,
        on_ready=lambda: print(f"The page is at {url(listening)}", flush=True),
        on_stop=offload.close,
        on_refused=metrics.refused,
    )
    gevent.with_timeout(CLOSE_TIMEOUT, client.close, timeout_value=None)
    return 0
