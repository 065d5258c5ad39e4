"""A client that knows only AMQP 1.0, by Proton: calls each topic in turn, and prints a JSON line about each call.

python proton_call.py PORT TOPIC JSON [TOPIC JSON]...
"""

from __future__ import annotations

import json
import sys
from typing import Any

from proton import Delivery, Message
from proton.reactor import LinkOption
from proton.utils import BlockingConnection, SendException

OUTCOMES = {Delivery.REJECTED: "rejected", Delivery.RELEASED: "released", Delivery.MODIFIED: "modified"}


class ReleaseUnrouted(LinkOption):  # type: ignore[misc]
    def apply(self, link: Any) -> None:
        link.target.capabilities.put_object(["mqlight:release-unrouted"])


def main(port: str, *rest: str) -> None:
    connection = BlockingConnection(f"amqp://127.0.0.1:{port}", timeout=20, allowed_mechs="ANONYMOUS")
    answers = connection.create_receiver(None, dynamic=True)
    reply_to = answers.link.remote_source.address
    for topic, body in zip(rest[::2], rest[1::2], strict=True):
        sender = connection.create_sender(topic, options=ReleaseUnrouted())
        message = Message(body, reply_to=reply_to, correlation_id=f"about {topic}", content_type="application/json")
        try:
            sender.send(message)
        except SendException as error:
            print(json.dumps({"topic": topic, "outcome": OUTCOMES[error.state]}), flush=True)
            continue
        finally:
            sender.close()
        answer = answers.receive()
        answers.accept()
        answered = {"correlation": answer.correlation_id, "type": answer.content_type, "body": answer.body}
        print(json.dumps({"topic": topic, **answered, "properties": answer.properties}), flush=True)
    connection.close()


main(*sys.argv[1:])
