"""Ends a process that hangs where no time limit of a library helps."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamlearn.core.errors import TemporaryError

log = logging.getLogger(__name__)


def leave(doing: str, seconds: float) -> None:
    """Say what hangs, and end the process at once: as after a crash, the next start knows what counts."""
    log.critical(
        "%s has not come back for %.0f s: leaving with %d; restart me", doing, seconds, TemporaryError.exit_code
    )
    logging.shutdown()
    os._exit(TemporaryError.exit_code)


class Watchdog:
    """Calls for the end where a guarded block takes longer than it may.

    A call into librdkafka may never return, whatever its timeout (sending offsets to a transaction while the
    coordinator moves): only another thread can tell.

    Args:
        seconds: that a block may take.
        end: what is done then; it gets what hangs, and the seconds.
    """

    def __init__(self, seconds: float, end: Callable[[str, float], None] = leave) -> None:
        self.seconds, self.end = seconds, end
        self._until: float | None = None
        self._doing = ""
        self._thread: threading.Thread | None = None

    @contextmanager
    def __call__(self, doing: str) -> Iterator[None]:
        """Guard the block."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
            self._thread.start()
        self._doing, self._until = doing, time.monotonic() + self.seconds
        try:
            yield
        finally:
            self._until = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.seconds / 4))
            until = self._until
            if until is not None and time.monotonic() > until:
                self._until = None
                self.end(self._doing, self.seconds)
