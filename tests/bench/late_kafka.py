"""Late labels, a real Kafka and deaths: `./dev bench late_kafka [ADDRESS] [--seeds 0,1,2] [--kills N]`.

The stream of `./dev bench late`, with its labels on a topic of their own, is produced to a real broker; one
`streamlearn run` after the other takes it in, each but the last killed with SIGKILL at a number of predictions drawn at
random. Then the test set follows as events without labels. Printed are, by seed: the final accuracy of what was
published for these beside that of a run in this process with the labels on the events, and whether every label's
outcome and every prediction is the plan's, by the learner's own counts and by an auditor that reads the topics alone.
`--verify` then learns the whole journal anew, and sees that predictions and weights come out the same.
"""

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any

import confluent_kafka as ck
import orjson

from streamlearn.commands.evaluate.one_pass import Job
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from tests.bench.late import accuracy, passed, planned_job, wrong
from tests.faults.audit import audit
from tests.faults.lives import finished, replayed
from tests.kafka.broker import Broker
from tests.kafka.helpers import Process, configuration, predictions
from tests.late import Plan, Step, plan

APART = 2  # milliseconds between two records: their time is the order of both topics


class Killed:
    """A learner that is killed: its topics, its configuration, and what it says at the end."""

    def __init__(self, address: str, folder: Path, job: Job, sets: Sequence[str]) -> None:
        self.address, self.folder, self.name = address, folder, f"late-{token_hex(4)}"
        self.topics = {each: f"{self.name}.{each}" for each in ("events", "labels")}
        Admin(KafkaSettings(address)).ensure(list(self.topics.values()), 1)
        root = job.settings.root
        self.config = configuration(
            folder,
            name=self.name,
            address=address,
            events=self.topics["events"],
            model=root.model.name,
            kafka={"topics": self.topics},
            memory={"capacity": root.memory.capacity},
            serving={"max_batch": root.serving.max_batch},
            probes={"share": 0},
            drift={"enabled": False},
            learner={"max_wait_seconds": 1e6},  # what is flushed for having waited depends on the clock
            snapshots={"path": str(folder / self.name), "every_seconds": 20},
        )
        with self.config.open("a") as file:
            file.write(f"seed: {root.seed}\nstrategy: {root.strategy.model_dump_json()}\n")
        self._options = [part for each in sets for part in ("--set", each)]

    def send(self, steps: Sequence[Step]) -> None:
        producer = ck.Producer({"bootstrap.servers": self.address, "enable.idempotence": True, "linger.ms": 50})
        began = int(time.time() * 1000) - APART * len(steps)
        for at, step in enumerate(steps):
            producer.produce(self.topics[step.topic], step.value, step.id.encode(), timestamp=began + APART * at)
            if at % 1000 == 0:
                producer.poll(0)
        assert producer.flush(60) == 0

    def dies(self, moments: Sequence[int]) -> list[int]:
        """Start learners one after the other, and kill each once so many predictions were published; return how many
        there were then."""
        found = []
        for moment in moments:
            with Process(self.folder, "run", self.config, *self._options) as run:
                run.says("reading ", 600)
                while (made := self._published()) < moment:
                    assert run.popen.poll() is None, run.err
                    time.sleep(0.02)
                run.popen.kill()
                found.append(made)
        return found

    def ends(self) -> Mapping[str, Any]:
        """Let one take the rest."""
        return finished(self.folder, self.config, *self._options)

    def _published(self) -> int:
        """The end of the predictions topic, where a commit's marker has an offset too."""
        consumer = ck.Consumer({"bootstrap.servers": self.address, "group.id": "looks", "enable.auto.commit": False})
        try:
            return consumer.get_watermark_offsets(ck.TopicPartition(f"{self.name}.predictions", 0), 30)[1]
        finally:
            consumer.close()


def through_kafka(
    learner: Killed, told: Plan, job: Job, kills: int, *, verify: bool
) -> tuple[float, list[str], list[int]]:
    """Return the accuracy in %, what is wrong, and how many predictions there were at each death."""
    learner.send(told.steps)
    events = len(told.of("events"))
    draw = random.Random(job.seed)
    deaths = learner.dies(sorted(draw.randrange(events) for _ in range(kills)))
    summary = learner.ends()
    verdict = audit(learner.address, learner.name, learner.topics["events"], learner.topics["labels"])
    found = wrong(summary["labels"], summary["pending_events"], told) + verdict.wrong
    if (verdict.predictions, verdict.repeated) != (events, 0):
        found.append(f"{verdict.predictions} predictions of {events} events, {verdict.repeated} more than once")
    if verdict.outcomes != summary["labels"]:
        found.append(f"the journal has {verdict.outcomes}")
    assert job.exam is not None
    asked = [Step("events", f"t{at}", orjson.dumps({"id": f"t{at}", "text": t})) for at, t in enumerate(job.exam.texts)]
    learner.send(asked)
    summary = learner.ends()
    said = {each["id"]: each["label"] for each in predictions(learner.address, f"{learner.name}.predictions")}
    right = sum(said[step.id] == truth for step, truth in zip(asked, job.exam.truth, strict=True))
    if verify:
        replayed(learner.folder, learner.config, summary)
    return 100 * right / len(asked), found, deaths


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address", nargs="?")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--delay", type=int, default=5000)
    parser.add_argument("--limit", type=int, default=None)
    parser.add_argument("--strategy", default="dual")
    parser.add_argument("--verify", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    given = parser.parse_args()
    if given.verify and given.sets:
        parser.error("--verify knows the configuration alone, so leave out --set")
    broker = None
    if given.address is None:
        broker = Broker()
    gaps, failed = [], False
    try:
        if broker is not None:
            broker.start()
        for seed in map(int, given.seeds.split(",")):
            job = planned_job(given.strategy, seed, given.limit, given.sets)
            rows = [(str(row.text), str(row.label)) for row in chain(*job.stream.parts)]
            topic = job.settings.root.kafka.topics.events
            events = [{"id": f"e{at}", "text": text, "label": label} for at, (text, label) in enumerate(rows)]
            at_once = accuracy(passed(job, ((topic, e["id"], orjson.dumps(e)) for e in events)), job)
            told = plan(rows, seed=seed, delay=given.delay)
            with tempfile.TemporaryDirectory() as folder:
                learner = Killed(
                    given.address or broker.address,  # type: ignore[union-attr]
                    Path(folder), job, given.sets,
                )  # fmt: skip
                late, found, deaths = through_kafka(learner, told, job, given.kills, verify=given.verify)
            gaps.append(late - at_once)
            failed |= bool(found)
            print(
                f"seed {seed}: {at_once:.2f} at once, {late:.2f} late and killed {len(deaths)} times: {gaps[-1]:+.2f}; "
                f"{'; '.join(found[:10]) or 'every count as planned'}; killed at {json.dumps(deaths)}",
                flush=True,
            )
    finally:
        if broker is not None:
            broker.remove()
    print(f"mean {statistics.mean(gaps):+.2f} ({min(gaps):+.2f} to {max(gaps):+.2f})")
    sys.exit(failed)


if __name__ == "__main__":
    main()
