from __future__ import annotations

from collections.abc import Iterator

import macaque
from macaque.observe.info import describe


def test_a_service_tells_whether_it_is_safe_and_whether_it_streams() -> None:
    app = macaque.Server()

    @app.service("numbers", safe=True)
    def numbers(count: int) -> Iterator[int]:
        yield from range(count)

    @app.service("add")
    def add(data: int) -> int:
        return data

    told = [(info.topic, info.safe, info.streams) for info in map(describe, app._registry)]
    assert told == [("numbers", True, True), ("add", False, False)]


def test_a_service_is_described_by_its_doc_string_and_the_types_of_its_function() -> None:
    app = macaque.Server()

    @app.service("add", share_id="sums", credit=3, timeout=2)
    def add(numbers: list[int]) -> int:
        """Add numbers."""
        return sum(numbers)

    app.service("echo/#")(lambda data: data)
    add_info, echo_info = map(describe, app._registry)
    assert (add_info.topic, add_info.share, add_info.credit, add_info.timeout) == ("add", "sums", 3, 2)
    assert (add_info.doc, add_info.reply) == ("Add numbers.", {"type": "integer"})
    assert add_info.request == {"type": "array", "items": {"type": "integer"}}
    assert (echo_info.doc, echo_info.request, echo_info.reply) == (None, None, None)
