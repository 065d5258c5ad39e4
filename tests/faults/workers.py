"""`python tests/faults/workers.py ENDPOINT COUNT [PAUSE]`: keep COUNT workers of a service alive, however they end.

Each is a fork, so that the next one is there a few milliseconds after the last one was killed. The service answers
`{"number": what it was asked, "worker": its process id}` after PAUSE seconds.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from typing import Any

import macaque


def work(endpoint: str, pause: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    app = macaque.Server()

    @app.service(endpoint, share_id="workers", credit=4)
    def answer(number: Any) -> dict[str, Any]:
        time.sleep(pause)
        return {"number": number, "worker": os.getpid()}

    app.run()


def main(endpoint: str, count: int, pause: float) -> None:
    logging.basicConfig(format="%(process)d %(message)s", level=logging.INFO)
    children: set[int] = set()

    def end(*_: object) -> None:
        for child in children:
            os.kill(child, signal.SIGKILL)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    while True:
        while len(children) < count:
            child = os.fork()
            if not child:
                work(endpoint, pause)
                os._exit(0)
            children.add(child)
            print(f"worker {child}", flush=True)
        children.discard(os.wait()[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 0.0)
