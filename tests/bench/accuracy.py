"""Accuracy on public sets: `./dev bench accuracy [--streams A,B] [--strategies A,B] [--seeds 0,1,2] [--json OUT]`.

Each stream passes once through the service, as `streamlearn evaluate` does it, with a replay memory of 1,000 and every
other setting at its default. What a number is compared with was measured in the same run.

- clinc: CLINC150, 150 intents in 10 groups of 15 that come one after the other.
- clinc-iid: the same samples in random order.
- clinc-tail: in random order, and the j-th class keeps 100 / j^0.7 of its samples.
- clinc-swap: in random order; from the middle on, ten pairs of classes have swapped labels. `swapped` and `others` are
  the final accuracy on those classes and on all others.
- clinc-few: in random order, and nine of ten have no label.
- clinc-cipher: in random order, and each letter of the texts is replaced by another: the encoder knows no word of them.
- snips, snips-iid: SNIPS, 7 intents in 7 groups, and in random order.

Strategy `finetune` on a random order is one epoch of joint training.
"""

import argparse
import json
import os
import random
import statistics
import string
import sys
import tempfile
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.commands.evaluate.figures import per_label
from streamlearn.commands.evaluate.one_pass import Job, Lap, memory_bytes, run
from streamlearn.commands.evaluate.streams import CLASS_INCREMENTAL
from streamlearn.stream.files import opened, records

STREAMS = ("clinc", "clinc-iid", "clinc-tail", "clinc-swap", "clinc-few", "clinc-cipher", "snips", "snips-iid")
Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    with opened(str(path)) as file:
        return [json.loads(value) for value in records(file, as_csv=False)]


def write(path: Path, rows: Rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def tail(rows: Rows, seed: int) -> Rows:
    """Keep 100 / j^0.7 samples of the j-th class, in random order."""
    draw, by_label = random.Random(seed), defaultdict(list)
    for row in rows:
        by_label[row["label"]].append(row)
    labels = sorted(by_label)
    draw.shuffle(labels)
    kept = [row for j, label in enumerate(labels, 1) for row in by_label[label][: max(1, int(100 / j**0.7))]]
    draw.shuffle(kept)
    return kept


def swap(rows: Rows, test: Rows, seed: int) -> tuple[Rows, Rows, set[str]]:
    """Swap the labels of ten pairs of classes in the second half of a random order, and in the test set."""
    draw = random.Random(seed)
    labels = sorted({row["label"] for row in rows})
    draw.shuffle(labels)
    other = {a: b for pair in zip(labels[:10], labels[10:20], strict=True) for a, b in (pair, pair[::-1])}
    rows = list(rows)
    draw.shuffle(rows)

    def renamed(some: Rows) -> Rows:
        return [{**row, "label": other.get(row["label"], row["label"])} for row in some]

    half = len(rows) // 2
    return rows[:half] + renamed(rows[half:]), renamed(test), set(other)


def few(rows: Rows, seed: int) -> Rows:
    """Take the label from nine of ten."""
    draw = random.Random(seed)
    rows = [row if draw.random() < 1 / 10 else {"text": row["text"]} for row in rows]
    draw.shuffle(rows)
    return rows


def cipher(rows: Rows) -> Rows:
    """Replace each letter by another, the same one everywhere."""
    letters = string.ascii_lowercase
    table = str.maketrans(letters, "".join(random.Random(0).sample(letters, len(letters))))
    return [{**row, "text": row["text"].lower().translate(table)} for row in rows]


def one(stream: str, strategy: str, seed: int, folder: Path, *, sets: list[str], limit: int | None) -> dict[str, Any]:
    """Evaluate one strategy with one seed on one stream."""
    data = Path(os.environ["STREAMLEARN_DATA"])
    name, _, kind = stream.partition("-")
    source = data / ("clinc150" if name == "clinc" else "snips")
    train = next(source.glob("train.jsonl*"))
    files, order, groups = (str(train), str(source / "test.jsonl")), "class-incremental", None
    swapped: set[str] = set()
    if name == "snips":
        groups = 7
    if kind == "iid":
        order, groups = "iid", None
    elif kind in {"tail", "swap", "few", "cipher"}:
        order, rows, test = "as-is", read(train), read(source / "test.jsonl")
        if kind == "tail":
            rows = tail(rows, seed)
        elif kind == "few":
            rows = few(rows, seed)
        elif kind == "cipher":
            order, rows, test = "iid", cipher(rows), cipher(test)
        else:
            rows, test, swapped = swap(rows, test, seed)
        files = write(folder / "train.jsonl", rows), write(folder / "test.jsonl", test)
    request = Request(
        *files, strategies=[strategy], memory=1000, order=order, groups=groups, seeds=[seed], sets=sets, limit=limit
    )
    (job,) = planned(request)
    found = {"stream": stream, "strategy": strategy, "seed": seed, **passed(job)}
    if swapped:
        recalls = {label: each["recall"] for label, each in found["per_label"].items()}
        found["swapped"] = statistics.mean(recalls[label] for label in swapped)
        found["others"] = statistics.mean(recall for label, recall in recalls.items() if label not in swapped)
    del found["per_label"]
    return found


def passed(job: Job) -> dict[str, Any]:
    """Let the stream pass. Where nothing is asked of the way, the test set is asked at the end alone: it is quicker."""
    if job.stream.order == CLASS_INCREMENTAL:
        figures = run(job, threading.Event()).figures
        return {key: figures[key] for key in FIGURES}
    lap = Lap(job, threading.Event(), lambda _: None, asks=False)
    lap.go()
    assert lap.examiner is not None
    answers, truth = lap.examiner.answers(), lap.examiner.exam.truth
    return {
        "final_accuracy": float((answers == truth).mean()),
        "forgetting": None,
        "prequential_accuracy": lap.service.measures.prequential.total_accuracy,
        "seconds": lap.seconds,
        "memory_bytes": memory_bytes(lap.service.learner),
        "stage_seconds": lap.service.stages.seconds(),
        "per_label": per_label(truth, answers),
    }


FIGURES = (
    "final_accuracy", "forgetting", "prequential_accuracy", "seconds", "memory_bytes", "stage_seconds", "per_label",
)  # fmt: skip
SHOWN = ("final_accuracy", "forgetting", "prequential_accuracy", "swapped", "others")


def summary(rows: list[dict[str, Any]]) -> str:
    """Return mean, least and most over the seeds."""
    parts = []
    for key in SHOWN:
        values = [100 * row[key] for row in rows if row.get(key) is not None]
        if values:
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            parts.append(f"{key.removesuffix('_accuracy')} {statistics.mean(values):.2f}{spread}")
    seconds = statistics.mean(row["seconds"] for row in rows)
    return f"{rows[0]['stream']:11} {rows[0]['strategy']:9} {', '.join(parts)}, {seconds:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", default=",".join(STREAMS))
    parser.add_argument("--strategies", default="dual,er")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    found = []
    for stream in given.streams.split(","):
        for strategy in given.strategies.split(","):
            rows = []
            for seed in map(int, given.seeds.split(",")):
                with tempfile.TemporaryDirectory() as folder:
                    rows.append(one(stream, strategy, seed, Path(folder), sets=given.sets, limit=given.limit))
                found += rows[-1:]
                if given.json is not None:
                    given.json.write_text(json.dumps(found, indent=1))
                sys.stderr.write(f"{summary(rows[-1:])}\n")
            print(summary(rows), flush=True)


if __name__ == "__main__":
    main()
