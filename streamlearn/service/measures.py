"""What is measured beside the predictions: prequential figures, probes, drift."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.target import Judged, Rows, Target
from streamlearn.core.timing import Stages
from streamlearn.evaluation.drift.class_distance import Novelty
from streamlearn.evaluation.drift.monitor import Detection, Monitor
from streamlearn.evaluation.prequential import Prequential, ServedAnswers
from streamlearn.evaluation.probes import Probes, Result
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.model.model import Model
from streamlearn.serving.predictor import Reply, ServedModel
from streamlearn.stream.events import Event, Prediction
from streamlearn.stream.join import Join, Letter
from streamlearn.stream.pending import Joined

log = logging.getLogger(__name__)


class ProbeSplit(NamedTuple):
    """What becomes of a batch's samples: those to learn, how many became probes, and the letters of the join with that
    told, as `journal.Batch` has them."""

    samples: list[Sample]
    probes: int
    letters: str


class Measures:
    """Looks at each batch after its commit; nothing here changes what is predicted.

    Args:
        prequential: tests what was served on the labels.
        probes: chooses what is kept out of training, and measures forgetting on it.
        monitor: watches the signals for drift; None watches nothing.
        novelty: how far an event is from every class.
        memory: what was learned and is rehearsed.
        served: the model that answers the probes.
        stages: takes the time.
        abstain_below: the score below which a prediction was no answer to act upon.
        correctable: of how many labelled events a corrected label is measured anew.
    """

    def __init__(
        self,
        prequential: Prequential,
        probes: Probes,
        monitor: Monitor | None,
        novelty: Novelty,
        *,
        memory: ReplayMemory,
        served: ServedModel,
        stages: Stages,
        abstain_below: float = 0.0,
        correctable: int = 0,
    ) -> None:
        self.abstain_below = abstain_below
        self.task = served.task
        self.answers = ServedAnswers(correctable, self.task)
        self.prequential, self.probes, self.monitor, self.novelty = prequential, probes, monitor, novelty
        self.memory, self.served, self.stages = memory, served, stages
        self.detections: list[Detection] = []  # those of the last batch

    @property
    def model(self) -> Model:
        """The served weights."""
        return self.served.model

    def split_probes(self, join: Join) -> ProbeSplit:
        """Say which samples may be learned, and keep the others as probes."""
        if not join.samples:
            return ProbeSplit([], 0, "".join(join.letters))
        samples: list[Sample] = []
        letters = list(join.letters)
        for place, sample in zip(join.places, join.samples, strict=True):
            # What was learned before, and comes again, must not become a probe.
            if sample.id in self.memory or not self.probes.offer(sample):
                samples.append(sample)
            else:
                letters[place] = Letter.PROBE if letters[place] == Letter.LEARNED else Letter.PROBE.upper()
        return ProbeSplit(samples, len(join.samples) - len(samples), "".join(letters))

    def measure(
        self,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        reply: Reply,
        join: Join,
        *,
        quiet: bool = False,
    ) -> None:
        """Compare what was served with the labels that came, and watch every signal for drift.

        Labels that came with their events come first, then those that came later: against what was served at the time.
        `quiet` says nothing of what is found.
        """
        told = join.told
        with self.stages("evaluate"):
            errors, losses = self._compare(events, predictions, reply, told)
            late = self._compare_late(join.late)
            errors, losses = [*errors, *late[0]], [*losses, *late[1]]
        with self.stages("drift"):
            self.detections = []
            if self.monitor is not None and (events or join.late):
                self._watch(self.monitor, events, predictions, reply, told)
                self._learn_late(join.late)
                self.detections += self.monitor.observe_labelled(errors, losses)
        for each in () if quiet else self.detections:
            log.warning(
                "drift in %s: %s reads %.4g, above %.4g", each.signal, each.detector, each.statistic, each.threshold
            )

    def forget(self, event_id: str) -> None:
        """Let go of an event: it is no probe, and what was said of it is kept no longer."""
        self.probes.remove(event_id)
        self.answers.remove(event_id)

    def correct(self, event_id: str, label: Target) -> bool:
        """Measure what was served anew against another label, in the prequential window; return whether it is there.

        What the drift detectors saw they have seen.
        """
        found = self.answers.find(event_id)
        if found is None:
            return False
        number, kept = found
        return self.prequential.relabel(number, label, self.task.judge(kept, [label]).losses[0])

    def learn_classes(self, events: Sequence[Event], tokens: Sequence[IntArray]) -> None:
        """Get to know the classes of labelled events that nobody asked about: what is like them is not far off."""
        rows = [row for row, event in enumerate(events) if event.label is not None]
        if self.monitor is not None and rows:
            embeddings = self.model.word_means([tokens[row] for row in rows])
            self.novelty.learn(embeddings, [self.task.group(events[row].label) for row in rows])

    def probe(self, labelled: int) -> list[Result]:
        """Let the served model answer the probes that are due after so many more labelled events."""
        if not self.model.trained:
            return []
        with self.stages("probe"):
            due = self.probes.due(labelled)
            if not due:
                return []
            answer = self.served.answer([sample.tokens for sample in due])
            judged = answer.judged(range(len(due)), [sample.label for sample in due])
            accuracies = 1 - np.array(judged.errors)
            sure = np.array(judged.confidences)
            right = accuracies.astype(bool) if np.isin(accuracies, (0, 1)).all() else accuracies
            return self.probes.record(due, right, sure, known=len(self.task.groups))

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every measure."""
        return {
            "prequential": self.prequential.state_dict(),
            "probes": self.probes.state_dict(),
            "answers": self.answers.state_dict(),
            "novelty": self.novelty.state_dict(),
            "monitor": None if self.monitor is None else self.monitor.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of every measure."""
        self.prequential.load_state_dict(state["prequential"])
        self.probes.load_state_dict(state["probes"])
        self.answers.load_state_dict(state["answers"])
        self.novelty.load_state_dict(state["novelty"])
        if self.monitor is not None and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])

    def _compare(
        self,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        reply: Reply,
        told: Sequence[tuple[int, Target]],
    ) -> tuple[list[float], list[float]]:
        if not told:
            return [], []
        rows, labels = [row for row, _ in told], [label for _, label in told]
        if reply.answer is None:
            kept = self.task.unknown(len(rows))
            judged = self.task.judge(kept, labels)
        else:
            kept = reply.answer.kept(rows) if self.answers.size else self.task.unknown(0)
            judged = reply.answer.judged(rows, labels)
        return self._take_in(
            judged,
            labels,
            slices=[events[row].slices for row in rows],
            answered=[not predictions[row].abstained for row in rows],
            ids=[events[row].id if events[row].has_own_id else None for row in rows],
            kept=_each(kept),
        )

    def _compare_late(self, late: Sequence[Joined]) -> tuple[list[float], list[float]]:
        if not late:
            return [], []
        labels = [each.sample.label for each in late]
        judged = self.task.judge(np.frombuffer(b"".join([each.kept for each in late]), self.task.kept), labels)
        answered = [
            said is not None and not confidence < self.abstain_below
            for said, confidence in zip(judged.said, judged.confidences, strict=True)
        ]
        return self._take_in(
            judged,
            labels,
            slices=[each.slices for each in late],
            answered=answered,
            ids=[each.sample.id for each in late],
            kept=[each.kept for each in late],
        )

    def _take_in(
        self,
        judged: Judged,
        labels: Sequence[Target],
        *,
        slices: Sequence[Mapping[str, str]],
        answered: Sequence[bool],
        ids: Sequence[str | None],
        kept: Sequence[bytes],
    ) -> tuple[list[float], list[float]]:
        """Take in labelled events, in columns; return the errors and losses of those for which something was served: an
        abstention says nothing of the world."""
        columns = zip(labels, *judged, slices, answered, strict=True)
        for row, (label, said, error, loss, confidence, own, acted) in enumerate(columns):
            self.prequential.update(
                said, label, error=error, loss=loss, confidence=confidence, answered=acted, slices=own
            )
            event_id = ids[row]
            if self.answers.size and event_id is not None:
                self.answers.add(event_id, self.prequential.count, kept[row])
        served = [row for row, said in enumerate(judged.said) if said is not None]
        return [judged.errors[row] for row in served], [judged.losses[row] for row in served]

    def _watch(
        self,
        monitor: Monitor,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        reply: Reply,
        told: Sequence[tuple[int, Target]],
    ) -> None:
        if not events:
            return
        embeddings = self.model.word_means(reply.tokens)
        novelty = self.novelty.score(embeddings)
        if told:
            self.novelty.learn(embeddings[[row for row, _ in told]], [self.task.group(label) for _, label in told])
        self.detections += monitor.observe(
            embeddings,
            np.array([np.nan if prediction.score is None else prediction.score for prediction in predictions]),
            [prediction.label for prediction in predictions],
            reply.unknown / np.maximum([len(row) for row in reply.tokens], 1),
            novelty,
        )

    def _learn_late(self, late: Sequence[Joined]) -> None:
        if late:
            samples = [each.sample for each in late]
            self.novelty.learn(
                self.model.word_means([each.tokens for each in samples]),
                [self.task.group(each.label) for each in samples],
            )


def _each(rows: Rows) -> list[bytes]:
    """Return the bytes of each row."""
    data, size = rows.tobytes(), rows.dtype.itemsize
    return [data[at : at + size] for at in range(0, len(data), size)]
