"""One evaluation: one strategy and one seed, one pass over the stream, through the service as `run` has it."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import accumulate, chain, pairwise
from threading import Event
from typing import Any

import numpy as np
import torch

from streamlearn.commands.evaluate import figures
from streamlearn.commands.evaluate.examiner import Exam, Examiner, StoppedError
from streamlearn.commands.evaluate.figures import Shares, finite, plain
from streamlearn.commands.evaluate.robustness import mislabelled
from streamlearn.commands.evaluate.streams import CLASS_INCREMENTAL, Row, Stream, labels_of, late_labels
from streamlearn.config.fingerprint import configuration
from streamlearn.config.settings import Settings
from streamlearn.core.garbage import spared
from streamlearn.evaluation import forgetting as continual
from streamlearn.learning.learner import Learner
from streamlearn.service.assembly import assemble
from streamlearn.service.loop import Service
from streamlearn.service.turn import Limits, Turn
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message

POINTS = 10  # looks at the test set where there are no groups to look after


@dataclass(frozen=True)
class Job:
    """What one evaluation is given.

    `label_noise` is the share of wrong labels of a second pass, None for no such pass; `label_efficiency` asks how many
    labels a new class needs.
    """

    settings: Settings
    stream: Stream
    exam: Exam | None
    label_noise: float | None = None
    label_efficiency: bool = False

    @property
    def strategy(self) -> str:
        """The strategy's name."""
        return self.settings.root.strategy.name

    @property
    def seed(self) -> int:
        """Of the order, and of all that the service draws."""
        return self.settings.root.seed

    @property
    def steps(self) -> int:
        """How many events pass in all."""
        return self.stream.size * (1 if self.label_noise is None or self.exam is None else 2)


@dataclass
class Evaluation:
    """What came of one: `figures` is what `--json` prints of it, the rest is for the report's plots."""

    figures: dict[str, Any]
    outcomes: list[float] = field(default_factory=list)  # prequential, in the order of the stream
    points: list[tuple[int, float]] = field(default_factory=list)  # events, accuracy on the classes that had come
    finished: bool = True


def run(job: Job, stop: Event, advance: Callable[[int], None] = lambda _: None) -> Evaluation:
    """Evaluate; an interruption leaves the prequential figures of what passed, and nothing that needs the end.

    Args:
        job: what is evaluated.
        stop: interrupts when set.
        advance: told how many more events have passed.
    """
    lap = Lap(job, stop, advance)
    try:
        lap.go()
        found = _figures(lap)
        noisy = None if job.label_noise is None or job.exam is None else _under_noise(job, stop, advance)
    except StoppedError:
        return Evaluation({**_nothing_of_the_end(lap), "finished": False}, lap.outcomes, finished=False)
    if found["robustness"] is not None:
        found["robustness"]["label_noise"] = noisy
    examiner = lap.examiner
    points = [] if examiner is None else examiner.points
    curve = [(each.events, figures.mean(each.right[each.come])) for each in points]
    return Evaluation(found, lap.outcomes, curve)


class Lap:
    """One pass over the stream, with the test set asked on the way.

    The events come in the parts between two looks at the test set, each put into the log when the one before was taken.
    What is learned does not depend on that: batches are cut by count, and a partial one waits for the next part.

    Args:
        job: what is evaluated.
        stop: interrupts when set.
        advance: told how many more events have passed.
        asks: whether the test set is asked on the way, or at the end alone.
    """

    def __init__(self, job: Job, stop: Event, advance: Callable[[int], None], *, asks: bool = True) -> None:
        self.job, self.stop, self._advance = job, stop, advance
        self.outcomes: list[float] = []  # the accuracy of each labelled event, as it was served
        self._measured = 0  # labelled events so far
        self.seconds = 0.0  # without those of the examiner
        self.come: Counter[str] = Counter()  # labels so far, by group
        self.log = MemoryLog()
        self.service = service_on(self.log, job.settings, stop)
        self.examiner = None if job.exam is None else Examiner(self.service.measures.served, job.exam, stop.is_set)
        self.measure = self.service.learner.task.measure()  # over the whole stream
        self.untrained: Shares | None = None
        self._asks = asks and self.examiner is not None
        late = late_labels(job.stream) if job.label_efficiency and asks else []
        self._late = set(map(self.service.learner.task.group, late))
        self._parts = iter(parts(job.stream))
        self._end = 0  # events in the log
        self._clock = time.perf_counter()

    def go(self) -> None:
        """Let the whole stream pass.

        Raises:
            StoppedError: somebody interrupted.
        """
        if self._asks and self.examiner is not None:
            self.untrained = self.examiner.right()
        self._clock = time.perf_counter()
        self._feed()
        with spared():
            self.service.run(Limits(max_events=self.job.stream.size), self._look)
        self.seconds += time.perf_counter() - self._clock
        if self.stop.is_set():
            raise StoppedError

    def _feed(self) -> None:
        part = next(self._parts, [])
        self.log.append(
            self.service.root.kafka.topics.events, [Message(row.value, row.id.encode()) for row in part], partition=0
        )
        self._end += len(part)

    def _look(self, turn: Turn) -> None:
        """Look at what a turn did, ask the test set if it is time, and put the next part into the log."""
        self.seconds += time.perf_counter() - self._clock
        taken = turn.records
        prequential, task = self.service.measures.prequential, self.service.learner.task
        new, self._measured = prequential.count - self._measured, prequential.count
        for entry in list(prequential.window)[-new:] if new else []:
            self.outcomes.append(1 - entry.error)
            self.measure.count(entry.said, entry.label, 1)
        self.come.update(task.group(event.label) for event in turn.events if event.label is not None)
        passed, total = self.service.totals.events, self.job.stream.size
        if self._asks and self.examiner is not None:
            for label in self._late & self.come.keys():
                self.examiner.watch(label)
                self._late.discard(label)
            if turn.updates:
                self.examiner.follow(self.come - _waiting(self.service.learner))
            if taken and passed == self._end < total:  # the last look comes after the last batch
                self.examiner.look(passed, self.come)
        if taken and passed == self._end < total:
            self._feed()
        self._advance(taken)
        self._clock = time.perf_counter()


def service_on(log: MemoryLog, settings: Settings, stop: Event) -> Service:
    """Make the topics in the log, and a service on them whose clock stands still: no partial batch is overdue."""
    kafka = settings.root.kafka
    topics = kafka.topics
    for topic in (*topics.inputs, topics.predictions, topics.dead_letters, topics.journal):
        log.create(topic)
    source = MemorySource(log, topics.inputs, group=kafka.group_id)
    transactional_id = f"streamlearn.{settings.root.name}" if kafka.delivery == "exactly-once" else None
    outlet = MemoryOutlet(log, group=kafka.group_id, transactional_id=transactional_id)
    return assemble(settings, source, outlet, clock=lambda: 0.0, stop=stop)


def parts(stream: Stream) -> list[list[Row]]:
    """Cut a stream where the test set is asked: after each group, or else at ten points of equal distance."""
    if stream.order == CLASS_INCREMENTAL:
        return stream.parts
    rows = list(chain.from_iterable(stream.parts))
    ends = [len(rows) * point // POINTS for point in range(POINTS + 1)]
    return [rows[start:end] for start, end in pairwise(ends) if end > start]


def memory_bytes(learner: Learner) -> int:
    """Return what is kept beside the weights: the memory's columns where it is used, and the strategy's statistics."""
    tensors = _tensors(learner.state_dict()["strategy"])
    return (learner.memory.nbytes if learner.strategy.rehearses else 0) + sum(each.nbytes for each in tensors)


def _tensors(value: Any) -> Iterable[torch.Tensor]:  # noqa: ANN401 - tensors, and JSON values around them
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _tensors(inner)


def _waiting(learner: Learner) -> Counter[str]:
    return Counter(learner.task.group(sample.label) for sample in learner.waiting)


def _under_noise(job: Job, stop: Event, advance: Callable[[int], None]) -> float | None:
    """Learn the same stream with wrong labels in it; return the final accuracy."""
    assert job.label_noise is not None
    path = job.settings.root.fields.label
    wrong = mislabelled(job.stream, job.label_noise, path=path, seed=job.seed)
    lap = Lap(Job(job.settings, wrong, job.exam), stop, advance, asks=False)
    lap.go()
    assert lap.examiner is not None
    return finite(figures.mean(lap.examiner.right()))


def _figures(lap: Lap) -> dict[str, Any]:
    found = _nothing_of_the_end(lap)
    examiner, job = lap.examiner, lap.job
    if examiner is None:
        return found
    task, answers = lap.service.learner.task, examiner.answers()
    right = examiner.right(answers)
    examiner.add(job.stream.size, lap.come, right)
    # Where classes do not come in groups the whole stream is one task.
    tasks = job.stream.parts if job.stream.order == CLASS_INCREMENTAL else [list(chain(*job.stream.parts))]
    task_of = {task.group(label): number for number, part in enumerate(tasks) for label in labels_of(part)}
    of_sample, points = examiner.tasks(task_of), examiner.points[-len(tasks) :]
    matrix = figures.matrix(points, of_sample, len(tasks))
    assert lap.untrained is not None
    untrained = figures.by_task(lap.untrained, of_sample, len(tasks))
    return {
        **found,
        "final_accuracy": finite(figures.mean(right)),
        "average_accuracy": finite(continual.average_accuracy(matrix)),
        "forgetting": finite(continual.forgetting(matrix)),
        "backward_transfer": finite(continual.backward_transfer(matrix)),
        "forward_transfer": finite(continual.forward_transfer(matrix, untrained)),
        "anytime_accuracy": finite(figures.anytime(examiner.points)),
        "accuracy_matrix": figures.rows(matrix),
        "negative_flips": finite(figures.negative_flips(examiner.points)) if task.classes else None,
        "labels_to_80": figures.efficiency(examiner.needed) if job.label_efficiency else None,
        "measures": {**found["measures"], "final": plain(examiner.measured(answers))},
        "per_label": figures.per_label(examiner.exam.truth, answers) if task.classes else None,
        "robustness": {"typos": finite(figures.mean(examiner.misspelt_right())), "label_noise": None},
    }


def _nothing_of_the_end(lap: Lap) -> dict[str, Any]:
    """Return every field, with what needs no test set filled in."""
    job, service = lap.job, lap.service
    events, accuracy = service.totals.events, service.measures.prequential.total_accuracy
    stages = {stage: seconds for stage, seconds in service.stages.seconds().items() if stage != "wait"}
    return {
        "strategy": job.strategy,
        "seed": job.seed,
        "order": job.stream.order,
        "groups": [labels_of(part) for part in job.stream.parts] if job.stream.order == CLASS_INCREMENTAL else None,
        "configuration": configuration(job.settings.root),
        "final_accuracy": None,
        "average_accuracy": None,
        "forgetting": None,
        "backward_transfer": None,
        "forward_transfer": None,
        "prequential_accuracy": finite(accuracy),
        "anytime_accuracy": None,
        "accuracy_matrix": None,
        "negative_flips": None,
        "labels_to_80": None,
        "measures": {"prequential": plain(lap.measure.figures()), "final": None},
        "robustness": None,
        "per_label": None,
        "samples": events,
        "dead_letters": dict(service.totals.dead_letters),
        "finished": True,
        "seconds": lap.seconds,
        "stage_seconds": stages,
        "samples_per_second": events / lap.seconds if lap.seconds else None,
        "memory_bytes": memory_bytes(service.learner),
    }


def curve(outcomes: list[float], points: int = 100) -> list[tuple[int, float]]:
    """Return the accuracy over the last tenth of the stream (at least 20 events), at so many of its events."""
    if not outcomes:
        return []
    window = max(20, len(outcomes) // 10)
    sums = np.array([0, *accumulate(outcomes)])
    ends = sorted({max(1, len(outcomes) * point // points) for point in range(1, points + 1)})
    return [(end, float((sums[end] - sums[max(0, end - window)]) / min(end, window))) for end in ends]
