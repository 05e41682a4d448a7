"""The join at size: `./dev bench joiner [--pending N] [--tokens T] [--labels L]`.

Fills the join with events that wait, in batches of 64, and measures the process's memory before and after; then lets
labels come for events drawn at random, alone and in batches, and takes the CPU time of each; then lets time pass, so
that all others leave; and writes the state of a full join and reads it back.
"""

import argparse
import gc
import resource
import statistics
import time
import timeit
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random

import numpy as np

from streamlearn.core.garbage import GARBAGE
from streamlearn.core.scores import Scores
from streamlearn.stream.config import JoinerConfig
from streamlearn.stream.events import Event, Label
from streamlearn.stream.joiner import Joiner
from streamlearn.stream.pending import Served
from streamlearn.stream.transport import Place
from tests.targets import answer, judge

BATCH, CLASSES, VOCABULARY = 64, 150, 30_522
NONE = Served((), None)


def resident() -> float:
    """Return the process's memory in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def batches(events: int, tokens: int, names: list[str]) -> Iterator[tuple[list[Event], Served]]:
    draw = np.random.default_rng(0)
    for start in range(0, events, BATCH):
        n = min(BATCH, events - start)
        some = [
            Event(f"ticket-{i:09}", "", None, 1e9 + i, {}, Place("events", 0, i), 1e9 + i, True)
            for i in range(start, start + n)
        ]
        rows = draw.dirichlet(np.full(CLASSES, 0.05), n).astype(np.float32)
        top = rows.argmax(1)
        ids = [draw.integers(0, VOCABULARY, length) for length in draw.integers(tokens // 2, tokens * 3 // 2 + 1, n)]
        yield some, Served(ids, answer(Scores(rows, top[:, None], rows.max(1, keepdims=True)), names))


def told(costs: Sequence[float]) -> str:
    low, middle, high = (statistics.quantiles(costs, n=100)[at - 1] for at in (10, 50, 99))
    return f"{middle:.2f} us of CPU (10 %: {low:.2f}, 99 %: {high:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pending", type=int, default=1_000_000)
    parser.add_argument("--tokens", type=int, default=20, help="tokens of an event, on average")
    parser.add_argument("--labels", type=int, default=100_000)
    given = parser.parse_args()
    if not 2 * BATCH <= given.labels <= given.pending // 2:
        parser.error(f"--labels is at least {2 * BATCH}, and at most half of --pending")
    names = [f"label-{i}" for i in range(CLASSES)]

    def make() -> Joiner:
        config = JoinerConfig(ttl=1e6, capacity=given.pending)
        return Joiner(config, judge(names), vocabulary_size=VOCABULARY, waits=True)

    own = make()
    before, spent = resident(), 0.0
    for now, (events, served) in enumerate(batches(given.pending, given.tokens, names)):
        start = time.process_time()
        own.join(events, own.first(events), served, [], 1e9 + now)
        spent += time.process_time() - start
    n = len(own.pending)
    print(f"{n:,} events wait: {(resident() - before) / n * 1e6:,.0f} MB per million, ", end="")
    print(f"{spent / n * 1e6:.2f} us of CPU each to let one wait", flush=True)

    start = time.perf_counter()
    state = own.state_dict()
    written = time.perf_counter() - start
    start = time.perf_counter()
    make().load_state_dict(state)
    print(f"its state: {written:.2f} s to make, {time.perf_counter() - start:.2f} s to take over", flush=True)
    del state

    gc.freeze()  # as the service does, which keeps the collector away from what stays
    gc.set_threshold(GARBAGE)
    draw, costs = Random(0), []
    for number in draw.sample(range(n), given.labels):
        label = Label(f"ticket-{number:09}", draw.choice(names), Place("labels", 0, number), 2e9)
        start = time.process_time_ns()
        join = own.join((), (), NONE, (label,), 1e9)
        costs.append((time.process_time_ns() - start) / 1000)
        assert len(join.samples) == 1
    many, numbers = [], draw.sample([int(event_id[7:]) for event_id in own.pending.ids], given.labels)
    for at in range(0, given.labels - BATCH + 1, BATCH):
        batch = [
            Label(f"ticket-{number:09}", draw.choice(names), Place("labels", 0, number), 2e9)
            for number in numbers[at : at + BATCH]
        ]
        start = time.process_time_ns()
        join = own.join((), (), NONE, batch, 1e9)
        many.append((time.process_time_ns() - start) / 1000 / BATCH)
        assert len(join.samples) == BATCH
    unit = min(timeit.repeat("sum(range(1000))", number=1000, repeat=5)) * 1000
    print(f"this machine sums the numbers to 1,000 in {unit:.1f} us")
    print(f"a label in batches of {BATCH}: {told(many)}; alone: {told(costs)}", flush=True)

    left, start = len(own.pending), time.process_time()
    join = own.join((), (), NONE, (), 3e9)
    assert (join.expired["ttl"], len(own.pending)) == (left, 0)
    print(f"{left:,} leave by ttl: {(time.process_time() - start) / left * 1e6:.2f} us of CPU each")


if __name__ == "__main__":
    main()
