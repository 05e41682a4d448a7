"""How soon detectors see a drift, and how often they see one that is not there: `./dev bench drift [--seeds N]`.

Made-up streams, the same for all: errors, numbers, vectors and labels that change at once after 1,000 observations,
that change step by step over the next 1,000, or that do not change. River's detectors stand beside ours for the four
that it has, with ours at river's settings too. Prints a markdown table, and what a whole monitor costs. Times are the
processor's.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from river import drift

from streamlearn.config.tree import DriftConfig
from streamlearn.core.registry import ComponentSpec
from streamlearn.evaluation.drift.class_distance import Novelty
from streamlearn.evaluation.drift.family import detectors
from streamlearn.evaluation.drift.monitor import Monitor

BEFORE, AFTER = 1_000, 2_000
STREAMS = 5  # without a change
WIDTH = 32  # of the vectors
RARE, COMMON = 0.1, 0.3  # error rates before and after
Update = Callable[[Any], bool]

RIVER_SETTINGS: dict[str, dict[str, Any]] = {
    "adwin": {"direction": "both"},
    "page-hinkley": {
        "grace": 30, "delta": 0.005, "threshold": 50, "alpha": 0.9999, "direction": "both", "standardized": False
    },
    "kswin": {"alpha": 0.005, "window": 100, "newest": 30},
}  # fmt: skip
RIVER: dict[str, Callable[[], Any]] = {
    "adwin": drift.ADWIN,
    "page-hinkley": drift.PageHinkley,
    "ddm": drift.binary.DDM,
    "kswin": lambda: drift.KSWIN(seed=0),
}


def ours(name: str, **settings: Any) -> Update:
    return detectors.build(ComponentSpec.model_validate({"name": name, **settings})).update


def theirs(name: str) -> Update:
    detector = RIVER[name]()

    def update(value: float) -> bool:
        detector.update(value)
        return bool(detector.drift_detected)

    return update


def stream(kind: str, seed: int, share: Sequence[float]) -> Iterator[Any]:
    """Yield observations; `share` says how much of the change has come at each: 0 is before, 1 is after."""
    draw, changed = np.random.default_rng(seed), np.asarray(share)
    if kind == "error":
        yield from (draw.random(len(changed)) < RARE + (COMMON - RARE) * changed).astype(float).tolist()
    elif kind == "number":
        yield from (draw.normal(0, 1, len(changed)) + changed).tolist()
    elif kind == "vector":
        for each in changed:
            yield torch.from_numpy(draw.normal(0.5 * (draw.random() < each), 1, WIDTH))
    else:
        for each in changed:
            yield str(draw.zipf(1.5) if draw.random() >= 0.5 * each else 1000 + draw.zipf(1.5))


def delay(make: Callable[[], Update], kind: str, share: Sequence[float], seeds: int) -> str:
    """Return the mean observations from the start of the change to the first alarm after it, and how many missed it."""
    found, missed = [], 0
    for seed in range(seeds):
        update = make()
        alarms = [at for at, value in enumerate(stream(kind, seed, share)) if update(value) and at >= BEFORE]
        if alarms:
            found.append(alarms[0] - BEFORE + 1)
        else:
            missed += 1
    mean = f"{statistics.mean(found):.0f}" if found else "-"
    return mean + (f" ({missed} of {seeds} missed)" if missed else "")


def false_alarms(make: Callable[[], Update], kind: str, count: int) -> tuple[float, float]:
    """Return alarms for 100,000 observations without a change, and microseconds an observation."""
    alarms, took = 0, 0.0
    for seed in range(STREAMS):  # several, since a reference that is drawn once decides over all that follows
        update, values = make(), list(stream(kind, 10_000 + seed, np.zeros(count // STREAMS).tolist()))
        start = time.process_time()
        alarms += sum(update(value) for value in values)
        took += time.process_time() - start
    return alarms * 100_000 / count, took / count * 1e6


def rows(seeds: int, events: int) -> Iterator[tuple[str, ...]]:
    abrupt = np.r_[np.zeros(BEFORE), np.ones(AFTER)].tolist()
    gradual = np.r_[np.zeros(BEFORE), np.linspace(0, 1, 1_000), np.ones(AFTER - 1_000)].tolist()
    for name in detectors:
        takes = detectors.cls(name).takes
        makers: dict[str, Callable[[], Update]] = {name: partial(ours, name)}
        if name in RIVER_SETTINGS:
            makers[f"{name}, river's settings"] = partial(ours, name, **RIVER_SETTINGS[name])
        if name in RIVER:
            makers[f"river's {name}"] = partial(theirs, name)
        slow = name == "kswin"  # and of no use for errors, which have two values
        for kind in ("error", "number") if takes == "number" and not slow else (takes,):
            for title, make in makers.items():
                few = max(2, seeds // 2) if slow else seeds
                count = events // (10 if slow else 5 if takes == "label" else 1)
                rate, cost = false_alarms(make, kind, count)
                yield (
                    title, kind, delay(make, kind, abrupt, few), delay(make, kind, gradual, few),
                    f"{rate:.0f} ({count:,})", f"{cost:.0f}",
                )  # fmt: skip


def whole(count: int = 6_400, batch: int = 64, width: int = 384, classes: int = 150) -> float:
    """Return the microseconds that a monitor of the default detectors takes for an event, with novelty, labels and
    all."""
    draw, monitor, novelty = np.random.default_rng(0), Monitor(DriftConfig().watched()), Novelty(classes)
    names = [f"label {i}" for i in range(classes)]
    took = 0.0
    for _ in range(count // batch):
        embeddings = torch.from_numpy(draw.normal(0, 1, (batch, width))).float()
        labels = draw.choice(names, batch).tolist()
        confidences, unknown = draw.beta(8, 2, batch), draw.random(batch) * 0.1
        errors, losses = (draw.random(batch) < RARE).astype(float).tolist(), draw.exponential(1, batch).tolist()
        start = time.process_time()
        new = novelty.score(embeddings)
        novelty.learn(embeddings, labels)
        monitor.observe(embeddings, confidences, labels, unknown, new)
        monitor.observe_labelled(errors, losses)
        took += time.process_time() - start
    return took / count * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--events", type=int, default=100_000, help="without a change, for the false alarms")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| detector | signal | delay, abrupt | delay, gradual | false alarms in 100,000 (measured on) | us |")
    print("|---|---|---|---|---|---|")
    for row in rows(arguments.seeds, arguments.events):
        print("| " + " | ".join(row) + " |", flush=True)
    print(f"\nThe default monitor with novelty, 150 labels, 384 numbers an embedding: {whole():.0f} us an event.")


if __name__ == "__main__":
    main()
