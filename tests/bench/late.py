"""What late labels cost: `./dev bench late [--seeds 0,1,2] [--delay N] [--limit N] [--strategy NAME] [--set K=V]`.

CLINC150 in ten groups of classes passes twice through the service: with its labels on the events, and with labels on a
topic of their own, up to `--delay` events late (5 % never come, 3 % before their event, 2 % twice, 1 % wrong at first).
Printed are both final accuracies, paired by seed, and whether every count of outcomes is the plan's.
"""

import argparse
import os
import statistics
import threading
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import orjson

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.commands.evaluate.one_pass import Job, service_on
from streamlearn.service.loop import Service
from streamlearn.stream.memory_log import MemoryLog
from streamlearn.stream.transport import Message
from tests.late import Plan, plan

PART = 64  # records that are produced before they are taken
ASKED = 256


def planned_job(strategy: str, seed: int, limit: int | None, sets: Sequence[str]) -> Job:
    """Plan CLINC150 in ten groups of classes, with a topic of labels and ids of our own."""
    folder = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150"
    request = Request(
        str(folder / "train.jsonl"), str(folder / "test.jsonl"), strategies=[strategy], memory=1000,
        order="class-incremental", groups=10, seeds=[seed], limit=limit,
        sets=["kafka.topics.labels=evaluate.labels", "fields.id=id", *sets],
    )  # fmt: skip
    (job,) = planned(request)
    return job


def passed(job: Job, steps: Iterable[tuple[str, str, bytes]]) -> Service:
    """Let records of (topic, id, value) pass through a service, in their order."""
    log = MemoryLog()
    service = service_on(log, job.settings, threading.Event())
    waiting = list(steps)
    for at in range(0, len(waiting), PART):
        for topic, own, value in waiting[at : at + PART]:
            log.append(topic, [Message(value, own.encode())], partition=0)
        while not service.source.at_end():
            service.turn()
    service.flush()
    return service


def accuracy(service: Service, job: Job) -> float:
    assert job.exam is not None
    right = 0
    for at in range(0, len(job.exam.texts), ASKED):
        answer = service.predictor.predict(job.exam.texts[at : at + ASKED]).answer
        assert answer is not None
        right += int((np.array(answer.named(), object) == job.exam.truth[at : at + ASKED]).sum())
    return 100 * right / len(job.exam.texts)


def wrong(counts: Mapping[str, int], never: int, told: Plan) -> list[str]:
    """Return what is not the plan's of the labels' outcomes, and of the number of events that wait in vain."""
    joined = ("learned", "probe", "held_back")
    found = {"joined": sum(counts.get(name, 0) for name in joined), "never": never}
    found |= {name: counts.get(name, 0) for name in told.outcomes}
    meant = {"joined": told.joined, **told.outcomes, "never": told.unlabelled}
    others = {name: count for name, count in counts.items() if count and name not in {*joined, *told.outcomes}}
    return [f"{name}: {found[name]} for {meant[name]}" for name in meant if found[name] != meant[name]] + [
        f"{name}: {count}" for name, count in others.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--delay", type=int, default=5000)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--strategy", default="dual")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    given = parser.parse_args()
    gaps = []
    for seed in map(int, given.seeds.split(",")):
        job = planned_job(given.strategy, seed, given.limit, given.sets)
        rows = [(str(row.text), str(row.label)) for row in chain(*job.stream.parts)]
        events = [{"id": f"e{at}", "text": text, "label": label} for at, (text, label) in enumerate(rows)]
        topic = job.settings.root.kafka.topics
        at_once = accuracy(passed(job, ((topic.events, e["id"], orjson.dumps(e)) for e in events)), job)
        told = plan(rows, seed=seed, delay=given.delay)
        topics = {"events": topic.events, "labels": topic.labels or ""}
        service = passed(job, ((topics[step.topic], step.id, step.value) for step in told.steps))
        late = accuracy(service, job)
        gaps.append(late - at_once)
        counts = (
            "; ".join(wrong(service.totals.labels, len(service.intake.joiner.pending), told))
            or "every count is the plan's"
        )
        print(f"seed {seed}: {at_once:.2f} at once, {late:.2f} late: {gaps[-1]:+.2f}; {counts}", flush=True)
    print(f"mean {statistics.mean(gaps):+.2f} ({min(gaps):+.2f} to {max(gaps):+.2f})")


if __name__ == "__main__":
    main()
