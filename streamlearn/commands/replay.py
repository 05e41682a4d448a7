"""`streamlearn replay`: rebuilds a past model from snapshots and journal, and proves that it is the one served then.

It only reads: no transactional id, no group, no topic of the broker knows of it, so it may run beside the learner.
"""

import json
import logging
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from streamlearn.commands.published import AHEAD, Published, said
from streamlearn.config.settings import Settings
from streamlearn.config.settings import load as load_settings
from streamlearn.config.upgrades import as_begun
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.durability import journal
from streamlearn.durability.journal_reader import Entry
from streamlearn.durability.recovery_plan import plan
from streamlearn.durability.snapshots import Snapshots
from streamlearn.learning.strategies.family import strategies
from streamlearn.service.assembly import assemble
from streamlearn.service.broker import client_settings
from streamlearn.service.connections import open_inputs, open_journal
from streamlearn.service.loop import Service
from streamlearn.service.recovery import Recovery
from streamlearn.service.warm_start import WarmStart
from streamlearn.serving import hugging_face
from streamlearn.stream.events import Prediction
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import TopicPartition, offsets

log = logging.getLogger(__name__)

REPORT_SECONDS = 5.0
ALL = sys.maxsize


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
        hugging_face.check(strategies.cls(root.strategy.name))
        hugging_face.check_task(root.task.name)
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
        warm=WarmStart(root.warm_start),
    )
    if found.last_start is not None:
        settings = as_begun(settings, found.last_start.configuration)
    service = silent_service(settings, to_step)
    named = beginnings(found.named, recovery.snapshots, to_step, verify=verify, whole=whole)
    pointer = begin(recovery, service, named, to_step)  # 1
    with ExitStack() as stack:
        checked = None
        if verify:
            source = stack.enter_context(open_inputs(client, [topics.predictions], {}))
            ahead = max(AHEAD, 6 * root.serving.max_batch)
            checked = Checked(Published(source, passed(named, pointer), ahead=ahead))
        follow(recovery, service, pointer, checked, to_step)
    if to_step is not None and service.learner.step < to_step:
        raise StreamlearnError(
            f"the journal ends at step {service.learner.step}, before {to_step}",
            where=f"the topic '{topics.journal}'",
            mend="name an earlier step",
        )
    if folder is not None:  # 4
        learner = service.learner
        hugging_face.save(learner.model, learner.strategy, list(learner.task.groups), folder)
    _say(service, checked, json_output=json_output)
    if checked is not None and checked.differences:
        raise StreamlearnError(
            f"{checked.differences} differences, the first: {checked.first}",
            where=f"the topic '{topics.journal}'",
            mend="compare versions, threads and processor with the start records: other ones change the last bits",
        )


@dataclass
class Checked:
    """What was compared, and what differed."""

    published: Published
    predictions: int = 0
    gone: int = 0  # predictions that retention took
    digests: int = 0
    differences: int = 0
    first: str = ""  # of the differences

    def check(self, record: journal.JournalRecord, service: Service, predictions: Sequence[Prediction]) -> None:
        """Compare with what was published, and with the digest that a snapshot's record has."""
        for each in predictions:
            place, found = each.source, self.published.pop(each.source)
            if found is None and not self.published.whole:
                self.gone += 1
                continue
            self.predictions += 1
            now = said(each.said, each.model_step)
            if found != now:
                what = f"{now.decode()}, published {found.decode() if found else 'nothing'}"
                self._differs(f"{place.topic}[{place.partition}] offset {place.offset}: {what}")
        if isinstance(record, journal.Batch):
            self.published.leave(record.ranges)
        if isinstance(record, journal.Snapshot):
            self.digests += 1
            if (service.learner.step, service.learner.sha256()) != (record.model_step, record.weights_sha256):
                self._differs(f"journal record {record.seq}: other weights at step {service.learner.step}")

    def _differs(self, what: str) -> None:
        self.differences += 1
        self.first = self.first or what


def _say(service: Service, checked: Checked | None, *, json_output: bool) -> None:
    """Print the result."""
    step, weights, labels = service.learner.step, service.learner.sha256(), len(service.learner.task.groups)
    if json_output:
        found: dict[str, Any] = {"step": step, "weights_sha256": weights, "known_labels": labels}
        if checked is not None:
            found |= {name: getattr(checked, name) for name in ("predictions", "digests", "gone", "differences")}
        sys.stdout.write(json.dumps(found) + "\n")
        return
    sys.stdout.write(f"step {step}, {labels} labels, weights {weights}\n")
    if checked is not None:
        sys.stdout.write(
            f"{checked.predictions} predictions and {checked.digests} digests compared, "
            f"{checked.differences} differences"
            f"{f'; {checked.gone} predictions are no longer in the topic' if checked.gone else ''}\n"
        )


def follow(
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


def silent_service(settings: Settings, to_step: int | None) -> Service:
    """Return a service that reaches no broker, and stops learning at the step."""
    sink = MemoryLog()
    inputs = settings.root.kafka.topics.inputs
    for topic in inputs:
        sink.create(topic)
    return assemble(settings, MemorySource(sink, inputs), MemoryOutlet(sink), max_steps=to_step)


def beginnings(
    named: Sequence[Entry], snapshots: Snapshots, to_step: int | None, *, verify: bool, whole: bool
) -> list[Entry]:
    """Return the snapshots to try, the best first; none begins at the journal's first record."""
    here = set(snapshots.names())
    there = [each for each in named if isinstance(each.record, journal.Snapshot) and each.record.name in here]
    if verify:
        return [] if whole else there[::-1]
    fits = [each for each in there if to_step is None or getattr(each.record, "model_step", 0) <= to_step]
    return fits if fits or whole else there


def begin(recovery: Recovery, service: Service, named: Sequence[Entry], to_step: int | None) -> journal.Pointer | None:
    """Take over the first of the snapshots that can be read; None where the replay begins at the first records.

    Raises:
        StreamlearnError: it is of a later step already.
    """
    pointer = recovery.load(service, named)
    if to_step is not None and service.learner.step > to_step:
        raise StreamlearnError(
            f"the oldest state that can be rebuilt is that of step {service.learner.step}, after {to_step}",
            where=service.root.snapshots.path,
            mend="name a later step: what the journal told before its beginning is gone",
        )
    return pointer


def passed(named: Sequence[Entry], pointer: journal.Pointer | None) -> dict[TopicPartition, int]:
    """Return the next offset of each partition where the replay begins; without a snapshot, at the first records."""
    begun = [each.record for each in named if pointer is not None and each.offset == pointer.journal_offset]
    return offsets(place for record in begun if isinstance(record, journal.Snapshot) for place in record.positions)
