"""`streamlearn replay`: rebuilds a past model from snapshots and journal, and proves that it is the one served then.

It only reads: no transactional id, no group, no topic of the broker knows of it, so it may run beside the learner.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import orjson

from streamlearn.config.settings import Settings
from streamlearn.config.settings import load as load_settings
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal_reader import Entry
from streamlearn.durability.recovery_plan import plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.learning.strategies import strategies
from streamlearn.service.assembly import assemble, client_settings, open_inputs, open_journal
from streamlearn.service.loop import Service
from streamlearn.service.recovery import Recovery
from streamlearn.serving import hugging_face as pretrained
from streamlearn.stream.events import Place, Prediction
from streamlearn.stream.kafka.source import KafkaSettings, read
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.payloads import ScoredLabel

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
ALL = sys.maxsize

Answers = dict[Place, tuple[object, ...]]


def replay(
    config: Path, sets: Sequence[str], *, to_step: int | None, verify: bool, folder: Path | None, json_output: bool
) -> None:
    """Rebuild the model at a step, or at the journal's end.

    1. Choose where to begin: the newest snapshot at or before the step. To verify, the journal's first record, or,
       where that is gone, the oldest snapshot.
    2. Learn again what the journal tells, up to the step.
    3. To verify, compare each prediction with the published one, and the weights with every digest in the journal.
    4. Write the model, if a folder is given.

    Raises:
        StreamlearnError: something that is needed is gone; the step was never reached; or what came out differs.
    """
    settings = load_settings(config, sets)
    root = settings.root
    if root.kafka.bootstrap_servers == "embedded":
        raise ConfigError(
            "the embedded broker keeps nothing", where="kafka.bootstrap_servers", mend="name a Kafka broker"
        )
    client = replace(client_settings(settings, root.kafka.bootstrap_servers), transactional_id=None)
    topics = root.kafka.topics
    if folder is not None:
        pretrained.check(strategies.cls(root.strategy.name))
    with open_journal(client, topics.journal) as journal_log:
        found = plan(journal_log, ALL)
        whole = journal_log.begins == 0
    if not found.positions:
        raise StreamlearnError("the journal is empty", where=f"the topic '{topics.journal}'", mend="run the learner")
    recovery = Recovery(
        found,
        Snapshots(root.snapshots.path, keep=root.snapshots.keep),
        lambda: open_journal(client, topics.journal),
        lambda positions: open_inputs(client, topics.inputs, positions),
    )
    service = _service(settings, to_step)
    pointer = recovery.load(service, _begin(found.named, recovery.snapshots, to_step, verify=verify, whole=whole))  # 1
    checked = Checked(*(_published(client, topics.predictions) if verify else ({}, True)))
    _follow(recovery, service, pointer, checked if verify else None, to_step)
    if to_step is not None and service.learner.step < to_step:
        raise StreamlearnError(
            f"the journal ends at step {service.learner.step}, before {to_step}",
            where=f"the topic '{topics.journal}'",
            mend="name an earlier step",
        )
    if folder is not None:  # 4
        learner = service.learner
        pretrained.save(learner.model, learner.strategy, list(learner.task.labels), folder)
    checked.say(service, verify=verify, json_output=json_output)
    if checked.wrong:
        raise StreamlearnError(
            f"{len(checked.wrong)} differences, the first: {checked.wrong[0]}",
            where=f"the topic '{topics.journal}'",
            mend="compare versions, threads and processor with the start records: other ones change the last bits",
        )


@dataclass
class Checked:
    """What was compared, and what differed."""

    published: Answers
    whole: bool  # whether the topic still holds all that was published
    predictions: int = 0
    gone: int = 0
    digests: int = 0
    wrong: list[str] = field(default_factory=list)

    def check(self, record: journal.JournalRecord, service: Service, predictions: Sequence[Prediction]) -> None:
        """Compare with what was published, and with the digest that a snapshot's record has."""
        for each in predictions:
            place, said = each.source, self.published.get(each.source)
            if said is None and not self.whole:
                self.gone += 1
                continue
            self.predictions += 1
            if said != _answer(each.label, each.score, each.top, each.model_step):
                what = f"{each.label!r} {each.score}, published {said}"
                self.wrong.append(f"{place.topic}[{place.partition}] offset {place.offset}: {what}")
        if isinstance(record, journal.Snapshot):
            self.digests += 1
            if (service.learner.step, service.learner.sha256()) != (record.model_step, record.weights_sha256):
                self.wrong.append(f"journal record {record.seq}: other weights at step {service.learner.step}")

    def say(self, service: Service, *, verify: bool, json_output: bool) -> None:
        """Print the result."""
        step, weights, labels = service.learner.step, service.learner.sha256(), len(service.learner.task.labels)
        compared = {
            "predictions": self.predictions,
            "digests": self.digests,
            "gone": self.gone,
            "differences": len(self.wrong),
        }
        if json_output:
            found = {"step": step, "weights_sha256": weights, "known_labels": labels}
            sys.stdout.write(json.dumps({**found, **(compared if verify else {})}) + "\n")
            return
        sys.stdout.write(f"step {step}, {labels} labels, weights {weights}\n")
        if verify:
            sys.stdout.write(
                f"{self.predictions} predictions and {self.digests} digests compared, {len(self.wrong)} differences"
                f"{f'; {self.gone} predictions are no longer in the topic' if self.gone else ''}\n"
            )


def _follow(
    recovery: Recovery, service: Service, pointer: journal.Pointer | None, checked: Checked | None, to_step: int | None
) -> None:
    """Learn again what the journal tells, up to the step."""
    told = time.monotonic()
    for record, turn in recovery.follow(service, pointer):  # 2
        if checked is not None:  # 3
            checked.check(record, service, turn.predictions if turn else ())
        if service.learner.step == to_step:
            return
        if time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            log.info("step %d, record %d of %d", service.learner.step, record.seq, recovery.found.writer.seq)


def _service(settings: Settings, to_step: int | None) -> Service:
    """Return a service that reaches no broker, and stops learning at the step."""
    sink = MemoryLog()
    inputs = settings.root.kafka.topics.inputs
    for topic in inputs:
        sink.create(topic)
    service = assemble(settings, MemorySource(sink, inputs), MemoryOutlet(sink))
    service.positions = {}
    learner = service.learner
    if to_step is not None and (learner.config.max_steps is None or learner.config.max_steps > to_step):
        learner.config = learner.config.model_copy(update={"max_steps": to_step})
    return service


def _begin(
    named: Sequence[Entry], snapshots: Snapshots, to_step: int | None, *, verify: bool, whole: bool
) -> list[Entry]:
    """Return the snapshots to try, the best first; none begins at the journal's first record."""
    here = set(snapshots.names())
    there = [each for each in named if isinstance(each.record, journal.Snapshot) and each.record.name in here]
    if verify:
        return [] if whole else there[::-1]
    fits = [each for each in there if to_step is None or getattr(each.record, "model_step", 0) <= to_step]
    return fits if fits or whole else there


def _published(client: KafkaSettings, topic: str) -> tuple[Answers, bool]:
    """Return what was said of each record, by its place, and whether the topic still holds all of it."""
    answers: Answers = {}
    with open_inputs(client, [topic], {}) as source:
        whole = not any(first for first, _ in source.bounds().values())
    for record in read(replace(client, start="earliest"), topic, until_end=True):
        said = orjson.loads(record.value or b"{}")
        source_ = said["source"]
        answers[Place(source_["topic"], source_["partition"], source_["offset"])] = _answer(
            said["label"], said["score"], said["top"], said["model_step"]
        )
    return answers, whole


def _answer(label: str | None, score: float | None, top: Sequence[ScoredLabel], step: int) -> tuple[object, ...]:
    return label, score, tuple((each["label"], each["score"]) for each in top), step
