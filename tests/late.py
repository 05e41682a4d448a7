"""A stream whose labels come late, with a plan of what must become of each: for tests, and for runs on public data.

python -m tests.late FILE [EVENTS]   prints what is planned for a JSONL file of texts and labels
"""

import json
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

SHARES = {"never": 0.05, "before": 0.03, "twice": 0.02, "corrected": 0.01}  # of the events; the others: once, late


class Step(NamedTuple):
    """A record to produce: on the topic of `events` or of `labels`, with its event's id as the key."""

    topic: str
    id: str
    value: bytes


class Plan(NamedTuple):
    """The records in their order, and what must become of them.

    `joined` labels are learned, become probes or are held back; `outcomes` says what becomes of the others, and
    `unlabelled` how many events wait in vain. `labels` is the last label of each id.
    """

    steps: list[Step]
    joined: int
    outcomes: dict[str, int]
    unlabelled: int
    labels: dict[str, str]

    def parts(self, size: int) -> Iterator[list[Step]]:
        """Cut the steps: who takes one part before the next is produced keeps the order between the two topics."""
        for start in range(0, len(self.steps), size):
            yield self.steps[start : start + size]

    def of(self, topic: str) -> list[Step]:
        """Return the records of one topic."""
        return [step for step in self.steps if step.topic == topic]


def plan(rows: Iterable[tuple[str, str]], *, seed: int = 0, delay: int = 50, stem: str = "e") -> Plan:
    """Plan a stream of texts with their true labels.

    An event's label comes up to `delay` events after it; `SHARES` never come, come before the event, come twice, or are
    wrong at first and corrected up to `delay` events later.
    """
    given, draw = list(rows), random.Random(seed)
    names = sorted({label for _, label in given})
    steps: list[tuple[float, Step]] = []
    kinds: Counter[str] = Counter()
    for at, (text, label) in enumerate(given):
        own = f"{stem}{at}"
        kind = draw.choices([*SHARES, "once"], [*SHARES.values(), 1 - sum(SHARES.values())])[0]
        kinds[kind] += 1
        steps.append((at, _step("events", own, {"id": own, "text": text})))
        later = at + draw.uniform(0, delay)
        if kind == "never":
            continue
        if kind == "before":
            later = at - draw.uniform(0, delay)
        first = label if kind != "corrected" else draw.choice([name for name in names if name != label])
        steps.append((later, _step("labels", own, {"id": own, "label": first})))
        if kind in {"twice", "corrected"}:
            again = later + draw.uniform(0, delay)
            steps.append((again, _step("labels", own, {"id": own, "label": label})))
    ordered = [step for _, step in sorted(steps, key=lambda each: each[0])]
    outcomes = {"duplicate": kinds["twice"], "correction": kinds["corrected"]}
    last = {step.id: json.loads(step.value)["label"] for step in ordered if step.topic == "labels"}
    return Plan(ordered, len(given) - kinds["never"], outcomes, kinds["never"], last)


def invented(events: int, classes: int = 6, seed: int = 0) -> list[tuple[str, str]]:
    """Return texts in words that the tiny model knows, each with its label."""
    draw = random.Random(seed)
    labels = [draw.randrange(classes) for _ in range(events)]
    return [(f"w{label} w{draw.randrange(100)} w{draw.randrange(30)}", f"c{label}") for label in labels]


def rows(path: Path, most: int | None = None) -> list[tuple[str, str]]:
    """Return texts and labels of a JSONL file."""
    with path.open(encoding="utf-8") as file:
        read = [json.loads(line) for line in file]
    return [(row["text"], str(row["label"])) for row in read[:most]]


def _step(topic: str, own: str, value: dict[str, Any]) -> Step:
    return Step(topic, own, json.dumps(value).encode())


def main(arguments: Sequence[str]) -> None:
    planned = plan(rows(Path(arguments[0]), int(arguments[1]) if arguments[1:] else None))
    told = {"records": len(planned.steps), **planned._asdict()}
    print(json.dumps({key: told[key] for key in ("records", "joined", "outcomes", "unlabelled")}))  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1:])
