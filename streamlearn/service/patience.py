"""How long samples wait that are no full batch: not for ever, since a stream may stop."""

from collections.abc import Callable


class Patience:
    """Says when a partial batch has waited long enough.

    It is asked twice. Batches are compared by the times that the journal has of them, so that what is learned again is
    cut as it was. What the loop decides beside that, because nothing comes, the journal tells of (`journal.Flush`), and
    it goes by a timer: a clock that is set back must not put it off.

    Args:
        seconds: how long a partial batch waits at most.
        clock: the time, in seconds since 1970.
        timer: seconds that never step back.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], timer: Callable[[], float]) -> None:
        self.seconds, self.clock, self.timer = seconds, clock, timer
        self.since: float | None = None  # the time of the batch with which it began; None: nothing waits
        self._from = 0.0  # the same by the timer

    def begin(self, now: float) -> None:
        """A partial batch begins to wait with the batch of this time."""
        self.since, self._from = now, self.timer()

    def end(self) -> None:
        """Nothing waits."""
        self.since = None

    def resume(self, since: float | None) -> None:
        """Go on as another process did: what it waited counts, and so does the time between the two."""
        self.since = since
        self._from = self.timer() - (0.0 if since is None else max(0.0, self.clock() - since))

    def is_over(self, now: float) -> bool:
        """Say whether it is too long, at the time of a batch."""
        return self.since is not None and now - self.since >= self.seconds

    def has_run_out(self, moment: float) -> bool:
        """Say whether it is too long, at a moment of the timer."""
        return self.since is not None and moment - self._from >= self.seconds
