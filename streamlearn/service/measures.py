"""What is measured beside the predictions: prequential figures, probes, drift."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamlearn.core.batch import IntArray, Sample
from streamlearn.core.scores import TOP_SCORES, pack_top_scores, probability
from streamlearn.core.timing import Stages
from streamlearn.core.vocabulary import Labels
from streamlearn.evaluation.answers import Answers
from streamlearn.evaluation.drift import Detection, Monitor, Novelty
from streamlearn.evaluation.prequential import Prequential
from streamlearn.evaluation.probes import Probes, Result
from streamlearn.learning.memory import ReplayMemory
from streamlearn.model.model import Model
from streamlearn.serving.predictor import Answer, ServedModel
from streamlearn.stream.events import Event, Prediction
from streamlearn.stream.joiner import Join
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
        labels: the task's vocabulary.
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
        labels: Labels,
        stages: Stages,
        abstain_below: float = 0.0,
        correctable: int = 0,
    ) -> None:
        self.abstain_below, self.answers = abstain_below, Answers(correctable)
        self.prequential, self.probes, self.monitor, self.novelty = prequential, probes, monitor, novelty
        self.memory, self.served, self.labels, self.stages = memory, served, labels, stages
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
                letters[place] = "p" if letters[place] == "l" else "P"
        return ProbeSplit(samples, len(join.samples) - len(samples), "".join(letters))

    def measure(
        self,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        answer: Answer,
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
            errors, losses = self._compare(events, predictions, answer, told)
            self._compare_late(join.late, errors, losses)
        with self.stages("drift"):
            self.detections = []
            if self.monitor is not None and (events or join.late):
                self._watch(self.monitor, events, predictions, answer, told)
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

    def correct(self, event_id: str, label: str) -> bool:
        """Measure what was served anew against another label, in the prequential window; return whether it is there.

        What the drift detectors saw they have seen.
        """
        found = self.answers.find(event_id)
        if found is None:
            return False
        return self.prequential.relabel(found[0], label, probability(found[1], self.labels.numbers([label])[0]))

    def learn_classes(self, events: Sequence[Event], tokens: Sequence[IntArray]) -> None:
        """Get to know the classes of labelled events that nobody asked about: what is like them is not far off."""
        rows = [row for row, event in enumerate(events) if event.label is not None]
        if self.monitor is not None and rows:
            embeddings = self.model.word_means([tokens[row] for row in rows])
            self.novelty.learn(embeddings, [str(events[row].label) for row in rows])

    def probe(self, labelled: int) -> list[Result]:
        """Let the served model answer the probes that are due after so many more labelled events."""
        if not self.model.trained:
            return []
        with self.stages("probe"):
            due = self.probes.due(labelled)
            if not due:
                return []
            scores = self.served.task.scores(self.served.output([sample.tokens for sample in due]), 1)
            numbers = [self.labels.number(sample.label) for sample in due]
            correct = np.array([number == top for number, top in zip(numbers, scores.top[:, 0].tolist(), strict=True)])
            confidence = scores.top_scores[:, 0].astype(np.float64)
            return self.probes.record(due, correct, confidence, known=len(self.labels))

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
        if "answers" in state:  # else no label of the past can be measured anew
            self.answers.load_state_dict(state["answers"])
        self.novelty.load_state_dict(state["novelty"])
        if self.monitor is not None and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])

    def _compare(
        self,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        answer: Answer,
        told: Sequence[tuple[int, str]],
    ) -> tuple[list[float], list[float]]:
        errors, losses = [], []
        kept = _kept(answer, [row for row, _ in told]) if self.answers.size else {}
        for row, label in told:
            event, predicted = events[row], predictions[row]
            number, scores = self.labels.number(label), answer.scores
            known = scores is not None and number is not None and number < scores.probabilities.shape[1]
            probability = float(scores.probabilities[row, number]) if scores is not None and known else 0.0
            loss = self.prequential.update(
                predicted.label, label, probability, confidence=predicted.score, answered=not predicted.abstained,
                slices=event.slices,
            )  # fmt: skip
            if self.answers.size and event.has_own_id:
                self.answers.add(event.id, self.prequential.count, kept[row])
            if predicted.label is not None:  # an abstention says nothing of the world
                errors.append(float(predicted.label != label))
                losses.append(loss)
        return errors, losses

    def _compare_late(self, late: Sequence[Joined], errors: list[float], losses: list[float]) -> None:
        for each in late:
            answered = each.predicted is not None and each.score >= self.abstain_below
            loss = self.prequential.update(
                each.predicted,
                each.sample.label,
                each.probability,
                confidence=each.score,
                answered=answered,
                slices=each.slices,
            )
            if self.answers.size:
                self.answers.add(each.sample.id, self.prequential.count, each.top_scores)
            if each.predicted is not None:
                errors.append(float(each.predicted != each.sample.label))
                losses.append(loss)

    def _watch(
        self,
        monitor: Monitor,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        answer: Answer,
        told: Sequence[tuple[int, str]],
    ) -> None:
        if not events:
            return
        embeddings = self.model.word_means(answer.tokens)
        novelty = self.novelty.score(embeddings)
        if told:
            self.novelty.learn(embeddings[[row for row, _ in told]], [label for _, label in told])
        self.detections += monitor.observe(
            embeddings,
            np.array([np.nan if prediction.score is None else prediction.score for prediction in predictions]),
            [prediction.label for prediction in predictions],
            answer.unknown / np.maximum([len(row) for row in answer.tokens], 1),
            novelty,
        )

    def _learn_late(self, late: Sequence[Joined]) -> None:
        if late:
            samples = [each.sample for each in late]
            self.novelty.learn(
                self.model.word_means([each.tokens for each in samples]), [each.label for each in samples]
            )


def _kept(answer: Answer, rows: Sequence[int]) -> dict[int, bytes]:
    """Return what is kept of some answers, for corrections, by row."""
    said = None if answer.scores is None else answer.scores.probabilities[list(rows)]
    packed, size = pack_top_scores(said, len(rows)).tobytes(), TOP_SCORES.itemsize
    return {row: packed[at * size : (at + 1) * size] for at, row in enumerate(rows)}
