"""Does `novel` find what no class covers? `./dev bench novelty [--strategies A,B] [--order O] [--seeds 0,1]`.

The service learns CLINC150's training samples, in ten groups of classes that come one after the other, with every
setting at its default. Then it gets the 4,500 test queries of its 150 classes and the 1,000 that belong to none,
without labels. Printed are the AUROC of `novelty`, and of 1 - `score` beside it (the baseline of Hendrycks and Gimpel,
ICLR 2017); the share of either kind that is marked `novel`, and of classes that came in the first, a middle and the
last group; how many of the known ones are answered right, in all and among those that are not marked.
"""

import argparse
import json
import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
import orjson

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.commands.evaluate.one_pass import Lap
from streamlearn.commands.evaluate.streams import labels_of
from streamlearn.core.garbage import spared
from streamlearn.service.loop import Service
from streamlearn.service.turn import Limits, Turn
from streamlearn.stream.events import Prediction
from streamlearn.stream.transport import Message

Floats = npt.NDArray[np.float64]


def auroc(low: Floats, high: Floats) -> float:
    """Return how often one of `high` is above one of `low`; a tie is half of it."""
    both = np.concatenate([low, high])
    _, place, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    n, m = len(high), len(low)
    return float((ranks[m:].sum() - n * (n + 1) / 2) / (n * m))


def asked(service: Service, lap: Lap, name: str) -> tuple[list[Prediction], list[str]]:
    """Let the service predict a file's texts, without their labels; return what it said, and the labels."""
    path = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150" / f"{name}.jsonl"
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    values = [Message(orjson.dumps({"text": row["text"]}), f"{name}{at}".encode()) for at, row in enumerate(rows)]
    lap.log.append(service.root.kafka.topics.events, values, partition=0)
    found: list[Prediction] = []

    def note(turn: Turn) -> None:
        found.extend(turn.predictions)

    with spared():
        service.run(Limits(max_events=len(rows)), note)
    return found, [row["label"] for row in rows]


def one(strategy: str, order: str, seed: int, limit: int | None) -> None:
    """Measure one strategy."""
    train = str(Path(os.environ["STREAMLEARN_DATA"]) / "clinc150" / "train.jsonl")
    groups = 10 if order == "class-incremental" else None
    (job,) = planned(Request(train, strategies=[strategy], order=order, groups=groups, seeds=[seed], limit=limit))
    lap = Lap(job, threading.Event(), lambda _: None, asks=False)
    lap.go()
    known, labels = asked(lap.service, lap, "test")
    unknown, _ = asked(lap.service, lap, "oos_test")
    come = set(lap.come)
    known, labels = zip(
        *((each, label) for each, label in zip(known, labels, strict=True) if label in come), strict=True
    )
    right = np.array([each.label == label for each, label in zip(known, labels, strict=True)])
    marked = np.array([each.novel for each in known])
    novelty = [np.array([each.novelty for each in some], float) for some in (known, unknown)]
    doubt = [np.array([1 - (each.score or 0) for each in some]) for some in (known, unknown)]
    parts = [labels_of(part) for part in job.stream.parts]
    shares = [
        marked[[label in part for label in labels]].mean() for part in (parts[0], parts[len(parts) // 2], parts[-1])
    ]
    by_group = ", ".join(f"{100 * share:.1f}" for share in shares)
    print(
        f"{strategy} ({order}, seed {seed}): AUROC of novelty {auroc(*novelty):.4f}, of 1 - score {auroc(*doubt):.4f}\n"
        f"  novel are {100 * np.mean([each.novel for each in unknown]):.1f} % of no class, and "
        f"{100 * marked.mean():.2f} % of known ones (first, middle, last group: {by_group} %)\n"
        f"  right are {100 * right.mean():.1f} % of all, {100 * right[~marked].mean():.1f} % of those not marked; "
        f"{lap.seconds:.0f} s",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strategies", default="dual,ridge,ncm,slda,er")
    parser.add_argument("--order", default="class-incremental", choices=("class-incremental", "iid"))
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--limit", type=int, default=None)
    given = parser.parse_args()
    for strategy in given.strategies.split(","):
        for seed in map(int, given.seeds.split(",")):
            one(strategy, given.order, seed, given.limit)


if __name__ == "__main__":
    main()
