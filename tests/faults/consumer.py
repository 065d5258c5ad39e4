"""`python tests/faults/consumer.py NAME`: everything that consumes, in one process, which says what it got.

A shared service and one that is not, and an MQ Light client with subscriptions of each quality of service, private and
shared, all below the topic NAME. Where that is "gevent" they run on it, else on threads.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

NAME = sys.argv[1]
if NAME == "gevent":
    from gevent import monkey

    monkey.patch_all()

import macaque  # noqa: E402  (gevent patches the library before anything of ours uses it)
import mqlight  # noqa: E402


def main() -> None:
    logging.basicConfig(format="%(message)s", level=logging.DEBUG)
    url = os.environ["MACAQUE_BROKER"]
    client = mqlight.Client(url)
    for qos in (0, 1):
        for share in (None, "share"):

            def got(kind: str, data: Any, delivery: Any, name: str = f"{qos}/{share}") -> None:
                print(f"got {data} on {name}", flush=True)

            client.subscribe(f"{NAME}/news/{qos}/{share}", share, {"qos": qos}, on_message=got)
    app = macaque.Server(broker=url)
    app.service(f"{NAME}/alone")(lambda data: data)
    app.service(f"{NAME}/shared", share_id="workers")(lambda data: data)
    app.run()


if __name__ == "__main__":
    main()
