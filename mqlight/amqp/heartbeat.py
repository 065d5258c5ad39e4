"""Keep the idle time-outs of both ends (section 2.4.5)."""

from __future__ import annotations


class Heartbeat:
    """The times at which a heartbeat is due and the peer's silence is too long. Times are in milliseconds.

    For the peer's idle time-out, the output is checked at each third of it. If nothing was sent since the last check,
    an empty frame is sent. So it comes less than two thirds of the time-out after the last bytes.
    """

    __slots__ = ("_beat_at", "_dead_at", "_seen_in", "_seen_out", "patience", "peer_idle")

    def __init__(self, patience: int) -> None:
        self.patience = patience
        """The longest silence of the peer, 0 for no limit."""
        self.peer_idle = 0
        """The peer's idle time-out, 0 for none."""
        self._seen_in = -1
        self._seen_out = -1
        self._dead_at = 0
        self._beat_at = 0

    @property
    def idle_time_out(self) -> int:
        """The idle time-out in our open frame: half of our patience, 0 for none."""
        return max(1, self.patience // 2) if self.patience else 0

    def is_missed(self, at: int, bytes_in: int) -> bool:
        """Return whether the peer has been silent for too long. ``bytes_in`` is the total received from the peer."""
        if not self.patience:
            return False
        if self._seen_in != bytes_in:
            self._seen_in = bytes_in
            self._dead_at = at + self.patience
        return self._dead_at <= at

    def is_due(self, at: int, bytes_out: int) -> bool:
        """Return whether a heartbeat must be sent now. ``bytes_out`` is the total sent to the peer."""
        if not self.peer_idle:
            return False
        silent = self._seen_out == bytes_out
        due = silent and self._beat_at <= at
        if due or not silent:
            self._beat_at = at + max(1, self.peer_idle // 3)
        self._seen_out = bytes_out
        return due

    def beats(self, size: int) -> None:
        """Take note of a written heartbeat of ``size`` bytes, which does not count as other traffic."""
        self._seen_out += size

    @property
    def next(self) -> float | None:
        """The time of the next check, in seconds; None for never."""
        times = [at for at, wanted in ((self._dead_at, self.patience), (self._beat_at, self.peer_idle)) if wanted]
        return min(times) / 1000 if times else None
