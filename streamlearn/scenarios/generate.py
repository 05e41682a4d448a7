"""`python -m streamlearn.scenarios.generate`: a scenario's events as lines, at a rate, for `streamlearn produce -`.

Example: python -m streamlearn.scenarios.generate --rate 10 | streamlearn produce - --topic support-tickets --key id
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count, islice

from streamlearn.scenarios import SCENARIOS
from streamlearn.scenarios.story import Scenario

SHORT = 90  # characters; about half of the messages have fewer


def lines(
    scenario: Scenario, length: int, seed: int, *, interval: timedelta, now: Callable[[], datetime]
) -> Iterator[bytes]:
    """Yield a scenario's records, bad ones among them, one story after the other, without end.

    A good one has a slice, `length`: short messages and long ones.

    Args:
        scenario: whose story it is.
        length: events of one story.
        seed: of the first story; each later one has the next, so that no id comes twice.
        interval: between the times of two events.
        now: the time at which a story begins.
    """
    for story in count(seed):
        for event in scenario.events(length, story, start=now(), interval=interval):
            yield (event.value if event.bad else _sliced(event.value)) + b"\n"


def _sliced(value: bytes) -> bytes:
    payload = json.loads(value)
    length = "short" if len(payload["text"]) < SHORT else "long"
    return json.dumps({**payload, "slices": {"length": length}}, ensure_ascii=False).encode()


def main() -> None:
    """Write lines to standard output until they are enough, or nobody reads them any more."""
    parser = argparse.ArgumentParser(
        prog="python -m streamlearn.scenarios.generate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--scenario", choices=list(SCENARIOS), default="support", help="the story that is told")
    parser.add_argument("--rate", type=float, default=5.0, help="events a second (5)")
    parser.add_argument("--length", type=int, default=3000, help="events of one story, before the next begins (3000)")
    parser.add_argument("--events", type=int, help="end after so many; else never")
    parser.add_argument("--seed", type=int, help="of the first story; the time in seconds if not given")
    given = parser.parse_args()
    if given.rate <= 0 or given.length < 1:
        parser.error("--rate and --length must be above 0")
    seed = int(time.time()) if given.seed is None else given.seed  # a second start must not repeat the ids of the first
    stream = lines(
        SCENARIOS[given.scenario],
        given.length,
        seed,
        interval=timedelta(seconds=1 / given.rate),
        now=lambda: datetime.now(UTC),
    )
    start = time.monotonic()
    try:
        for sent, line in enumerate(islice(stream, given.events)):
            time.sleep(max(0.0, start + sent / given.rate - time.monotonic()))
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
    except BrokenPipeError:  # the reader has gone; without this Python complains once more when it flushes at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
