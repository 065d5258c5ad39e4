"""The gateway in front of every broker: calls, streams, messages, and a broker that goes away."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import macaque
from fronts import StartFront
from processes import wait_until
from real_brokers import Broker


def test_callers_reach_services_and_messages(
    broker: Broker, topic: str, app: macaque.Server, client: macaque.Client, start_front: StartFront
) -> None:
    @app.service(f"{topic}/double", share_id="double", safe=True)
    def double(data: Any) -> Any:
        return data * 2

    @app.service(f"{topic}/count", share_id="count")
    def count(data: Any) -> Iterator[int]:
        yield from range(100)

    app.start()
    front = start_front(broker.url, "--allow", f"{topic}/#", "--subscribe", f"{topic}/news/#")
    wait_until(lambda: front.call(f"{topic}/double", 1).status == 200, what="the services")
    assert front.call(f"{topic}/double", "ab").body == "abab"
    assert front.ask("GET", f"/{topic}/double?data=4").body == 8
    away = front.call(f"{topic}/away", Prefer="wait=2")
    assert away.status == (503 if broker.tells_no_responders else 504)
    streamed = front.call(f"{topic}/count")
    assert streamed.headers.get_content_type() == "text/event-stream"
    assert streamed.body.count(b"data: ") == 101 and b'event: end\ndata: {"parts":100}' in streamed.body
    with front.events(f"/{topic}/news/%23") as all_news, front.events(f"/{topic}/news/sport") as sport:
        client.notify(f"{topic}/news/sport", {"goal": 1}).result()
        client.notify(f"{topic}/news/a.b/c d", 2).result()
        assert next(sport) == ("message", {"topic": f"{topic}/news/sport", "data": {"goal": 1}})
        assert [next(all_news)[1] for _ in range(2)] == [
            {"topic": f"{topic}/news/sport", "data": {"goal": 1}},
            {"topic": f"{topic}/news/a.b/c d", "data": 2},
        ]
    for number in range(20):  # a subscription that ends does not disturb the next one
        with front.events(f"/{topic}/news/again") as again:
            client.notify(f"{topic}/news/again", number).result()
            assert next(again)[1]["data"] == number
    assert front.call(f"{topic}/double", 1, Prefer="respond-async").status == 202
    assert front.process.stop() == 0
    assert "Traceback" not in front.process.log()
