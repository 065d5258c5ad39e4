"""The front end as a process: environment in, exit code out."""

from __future__ import annotations

import logging
import os
import sys

import gevent

import macaque
from frontend.app import Frontend
from frontend.listener import BadAddress, address, listen, serve, url
from frontend.offload import Offload

CLOSE_TIMEOUT = 2.0
"""Seconds that the messaging client gets to say good-bye."""


def main() -> int:
    """Serve until told to stop; return the exit code of the process, 2 for a mistake in its environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    try:
        listening = listen(*address(os.environ))
        client = macaque.Client()
    except (BadAddress, TypeError, ValueError) as error:
        print(f"frontend: {error}", file=sys.stderr)
        return 2
    client.start()
    offload = Offload(client)
    serve(
        listening,
        Frontend(offload).application,
        on_ready=lambda: print(f"The page is at {url(listening)}", flush=True),
        on_stop=offload.close,
    )
    gevent.with_timeout(CLOSE_TIMEOUT, client.close, timeout_value=None)
    return 0
