"""What `dual` costs: `./dev bench cost [--events N] [--seed S]`.

Two services, `dual` and `er` with all layers trained, take CLINC150 in ten groups of classes, each on its own; chunks
of 480 events go to one and the other in turn. Printed is the ratio of their seconds: of all chunks together, and the
median and quartiles over pairs of chunks. Then the two predictions of `dual` with all it has learned and of the bare
model with a linear head, in turn, on the test set: 16 and 64 texts at a time.
"""

import argparse
import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.commands.evaluate.one_pass import service_on
from streamlearn.core.batch import pad
from streamlearn.service.loop import Service
from streamlearn.stream.memory_log import MemoryLog
from streamlearn.stream.transport import Message

CHUNK = 480
WARM = 1  # pairs of chunks that do not count
NAMES = ("dual", "er")


def ratio(pairs: list[tuple[float, float]]) -> str:
    """Return the ratio of the sums, and the median and quartiles of each pair's."""
    low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
    whole = sum(a for a, _ in pairs) / sum(b for _, b in pairs)
    return f"{whole:.2f} times (pairs: median {middle:.2f}, quartiles {low:.2f} to {high:.2f}, n={len(pairs)})"


def timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def learned(events: int | None, seed: int) -> dict[str, Service]:
    """Let both services learn the stream in turn; print what it took."""
    folder = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150"
    request = Request(
        str(folder / "train.jsonl"), strategies=list(NAMES), memory=1000, order="class-incremental", groups=10,
        seeds=[seed], limit=events,
    )  # fmt: skip
    jobs = list(planned(request))
    rows = list(chain.from_iterable(jobs[0].stream.parts))
    logs = {name: MemoryLog() for name in NAMES}
    stop = threading.Event()
    services = {job.strategy: service_on(logs[job.strategy], job.settings, stop) for job in jobs}
    pairs = []
    for at in range(0, len(rows), CHUNK):
        chunk = [Message(row.value, row.id.encode()) for row in rows[at : at + CHUNK]]
        took = []
        for name in NAMES if at // CHUNK % 2 else NAMES[::-1]:
            service = services[name]
            logs[name].append(service.root.kafka.topics.events, chunk, partition=0)
            took.append((name, timed(partial(taken, service, at + len(chunk)))))
        seconds = dict(took)
        pairs.append((seconds["dual"], seconds["er"]))
        sys.stderr.write(f"{at + len(chunk):>6} events: dual {seconds['dual']:.1f} s, er {seconds['er']:.1f} s\n")
    print(f"an event of `dual` costs {ratio(pairs[WARM:])} one of `er`", flush=True)
    return services


def taken(service: Service, end: int) -> None:
    while service.totals.events < end:
        service.turn()


def predicted(services: dict[str, Service], size: int) -> None:
    """Compare the predictions of `size` texts at a time."""
    path = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150" / "test.jsonl"
    with path.open(encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    dual, bare = services["dual"].measures.served, services["er"].measures.served.model
    tokens, _ = bare.tokenize(texts)
    pairs = []
    with torch.inference_mode():
        for at in range(0, len(tokens) - size, size):
            some = tokens[at : at + size]
            pairs.append((timed(partial(dual.answer, some)), timed(partial(bare, pad(some)))))
    print(f"a prediction of {size} texts costs {ratio(pairs[10:])} the bare model", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=None)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    services = learned(given.events, given.seed)
    for size in (16, 64):
        predicted(services, size)


if __name__ == "__main__":
    main()
