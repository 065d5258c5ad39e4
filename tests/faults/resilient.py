"""A server that dies and comes back."""

from __future__ import annotations

import os
from pathlib import Path

from processes import start_server, wait_until

ROUNDS = int(os.environ.get("MACAQUE_FAULT_ROUNDS", "1"))
"""The number of repetitions of the streams of calls: 1 in CI, more for the figures of docs/reliability.md."""


class Resilient:
    """A server that can be killed, and started again on the same port, and on the same folder if it has one."""

    def __init__(self, data: Path | None = None) -> None:
        self._data = data
        self._options = () if data is None else ("--data", str(data))
        self._process = start_server(*self._options)
        self.url, self.port = self._process.url, self._process.port

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.stop()

    def start(self) -> None:
        self._process.close()
        self._process = start_server(*self._options, port=self.port)

    def wait_until_kept(self, pattern: str) -> None:
        """Wait until a subscription is on the disk, which it is a moment after it was confirmed."""
        assert self._data is not None
        files = self._data
        wait_until(lambda: any(pattern.encode() in file.read_bytes() for file in files.iterdir() if file.is_file()))

    def close(self) -> None:
        self._process.close()
