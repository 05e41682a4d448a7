"""What hangs is ended from outside; what comes back in time is left alone."""

import threading
import time

import pytest

from streamlearn.core.errors import ConfigError
from streamlearn.core.watchdog import Watchdog
from streamlearn.durability import failpoints


def test_a_block_that_hangs_is_ended_and_a_quick_one_is_not():
    ended = threading.Event()
    told = []

    def end(doing, seconds):
        told.append((doing, seconds))
        ended.set()

    watchdog = Watchdog(0.2, end)
    with watchdog("a quick thing"):
        pass
    time.sleep(0.5)
    assert told == []
    with watchdog("committing a batch"):
        assert ended.wait(5)
    assert told == [("committing a batch", 0.2)]


@pytest.mark.parametrize("value", ["nowhere", "committed:often"])
def test_a_failpoint_that_there_is_not_is_refused(value):
    with pytest.raises(ConfigError, match="name one of taken, predicted"):
        failpoints.from_environment({failpoints.VARIABLE: value})
