"""What is measured beside the predictions: prequential figures, probes, drift."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from streamlearn.batch import IntArray, Sample
from streamlearn.drift import Detection, Monitor, Novelty
from streamlearn.evaluation import Prequential
from streamlearn.events import Event, Prediction
from streamlearn.memory import ReplayMemory
from streamlearn.model import Model
from streamlearn.predictor import Answer, ServedModel
from streamlearn.probes import Probes, Result
from streamlearn.stages import Stages
from streamlearn.tasks import Labels

log = logging.getLogger(__name__)


class Seen(NamedTuple):
    """What becomes of a batch's labels: samples to learn, how many labelled events became probes, and a letter for each
    event, as `journal.Batch` has them."""

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
    ) -> None:
        self.prequential, self.probes, self.monitor, self.novelty = prequential, probes, monitor, novelty
        self.memory, self.served, self.labels, self.stages = memory, served, labels, stages
        self.detections: list[Detection] = []  # those of the last batch

    @property
    def model(self) -> Model:
        """The served weights."""
        return self.served.model

    def choose(self, events: Sequence[Event], answer: Answer) -> Seen:
        """Say which labelled events may be learned, and keep the others as probes."""
        samples: list[Sample] = []
        letters: list[str] = []
        for event, tokens in zip(events, answer.tokens, strict=True):
            if event.label is None:
                letters.append("-")
                continue
            sample = Sample(event.id, tokens, str(event.label))
            # What was learned before, and comes again, must not become a probe.
            if sample.id in self.memory or not self.probes.offer(sample):
                samples.append(sample)
                letters.append("l")
            else:
                letters.append("p")
        return Seen(samples, letters.count("p"), "".join(letters))

    def take(
        self, events: Sequence[Event], predictions: Sequence[Prediction], answer: Answer, *, quiet: bool = False
    ) -> None:
        """Compare what was served with the labels that came with the events, and watch every signal for drift.

        `quiet` says nothing of what is found.
        """
        rows = [row for row, event in enumerate(events) if event.label is not None]
        with self.stages("evaluate"):
            errors, losses = self._compare(events, predictions, answer, rows)
        with self.stages("drift"):
            self._watch(events, predictions, answer, errors=errors, losses=losses)
        for each in () if quiet else self.detections:
            log.warning(
                "drift in %s: %s reads %.4g, above %.4g", each.signal, each.detector, each.statistic, each.threshold
            )

    def meet(self, events: Sequence[Event], tokens: Sequence[IntArray]) -> None:
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
            "novelty": self.novelty.state_dict(),
            "monitor": None if self.monitor is None else self.monitor.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of every measure."""
        self.prequential.load_state_dict(state["prequential"])
        self.probes.load_state_dict(state["probes"])
        self.novelty.load_state_dict(state["novelty"])
        if self.monitor is not None and state["monitor"] is not None:
            self.monitor.load_state_dict(state["monitor"])

    def _compare(
        self, events: Sequence[Event], predictions: Sequence[Prediction], answer: Answer, rows: Sequence[int]
    ) -> tuple[list[float], list[float]]:
        errors, losses = [], []
        for row in rows:
            event, predicted = events[row], predictions[row]
            label = str(event.label)
            number, scores = self.labels.number(label), answer.scores
            known = scores is not None and number is not None and number < scores.probabilities.shape[1]
            probability = float(scores.probabilities[row, number]) if scores is not None and known else 0.0
            loss = self.prequential.update(
                predicted.label, label, probability, confidence=predicted.score, answered=not predicted.abstained,
                slices=event.slices,
            )  # fmt: skip
            if predicted.label is not None:  # an abstention says nothing of the world
                errors.append(float(predicted.label != label))
                losses.append(loss)
        return errors, losses

    def _watch(
        self,
        events: Sequence[Event],
        predictions: Sequence[Prediction],
        answer: Answer,
        *,
        errors: Sequence[float],
        losses: Sequence[float],
    ) -> None:
        self.detections = []
        if self.monitor is None or not events:
            return
        embeddings = self.model.word_means(answer.tokens)
        novelty = self.novelty.score(embeddings)
        if labelled := [row for row, event in enumerate(events) if event.label is not None]:
            self.novelty.learn(embeddings[labelled], [str(events[row].label) for row in labelled])
        found = self.monitor.observe(
            embeddings,
            np.array([np.nan if prediction.score is None else prediction.score for prediction in predictions]),
            [prediction.label for prediction in predictions],
            answer.unknown / np.maximum([len(row) for row in answer.tokens], 1),
            novelty,
        )
        found += self.monitor.observe_labelled(errors, losses)
        self.detections = found
