"""One detector for each signal that is watched, and what they found."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.registry import ComponentSpec
from streamlearn.evaluation.drift.base import Detector
from streamlearn.evaluation.drift.family import detectors, fits


class Detection(NamedTuple):
    """Drift was called. `observed` is the number of observations of the signal so far."""

    detector: str
    signal: str
    statistic: float
    threshold: float
    observed: int


class Reading(NamedTuple):
    """What a detector reads of a signal."""

    detector: str
    signal: str
    statistic: float
    threshold: float


class Monitor:
    """Feeds each signal to its detector. What is not a finite number is no observation.

    Args:
        watched: the detector of each signal that is watched.

    Raises:
        ConfigError: there is no such signal or detector, or the detector cannot take the signal.
    """

    def __init__(self, watched: Mapping[str, ComponentSpec]) -> None:
        for signal, spec in watched.items():
            fits(signal, spec)
        self._names = {signal: spec.name for signal, spec in watched.items()}
        self._settings = {
            signal: {"name": spec.name, **detectors.config(spec).model_dump(mode="json")}
            for signal, spec in watched.items()
        }
        self._detectors: dict[str, Detector] = {signal: detectors.build(spec) for signal, spec in watched.items()}
        self.counts: Counter[str] = Counter()
        self.detections: Counter[tuple[str, str]] = Counter()

    def observe(
        self,
        embeddings: torch.Tensor,
        confidences: npt.NDArray[np.float64],
        labels: Sequence[str | None],
        unknown_tokens: npt.NDArray[np.float64],
        novelty: npt.NDArray[np.float64],
    ) -> list[Detection]:
        """Take in n events, with or without labels: embeddings (n, d), the served scores (nan where there was none),
        the served labels (None where there was none), the shares of unknown tokens, the novelties."""
        found: list[Detection] = []
        if "embedding" in self._detectors:
            rows = embeddings.cpu()
            found += self._feed("embedding", rows[torch.isfinite(rows).all(1)])
        found += self._numbers("confidence", confidences)
        found += self._feed("label", (label for label in labels if label is not None))
        found += self._numbers("unknown_tokens", unknown_tokens)
        found += self._numbers("novelty", novelty)
        return found

    def observe_labelled(self, errors: Sequence[float], losses: Sequence[float]) -> list[Detection]:
        """Take in labelled events: 1 where what was served was wrong, else 0, and the labels' losses (nats)."""
        return [*self._numbers("error", errors), *self._numbers("loss", losses)]

    def readings(self) -> list[Reading]:
        """Return what every detector reads now; nan where it cannot tell yet."""
        return [
            Reading(self._names[signal], signal, float(detector.statistic), float(detector.threshold))
            for signal, detector in self._detectors.items()
        ]

    def totals(self) -> dict[tuple[str, str], int]:
        """Return how often drift was called, by detector and signal; zero is there too."""
        return {(name, signal): self.detections[name, signal] for signal, name in self._names.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every detector."""
        return {
            "counts": dict(self.counts),
            "detections": [[*key, count] for key, count in self.detections.items()],
            "detectors": {
                signal: {"settings": self._settings[signal], "state": detector.state_dict()}
                for signal, detector in self._detectors.items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of the signals that are watched as they were; others begin anew."""
        self.counts = Counter(state["counts"])
        self.detections = Counter({(name, signal): int(count) for name, signal, count in state["detections"]})
        for signal, detector in self._detectors.items():
            saved = state["detectors"].get(signal)
            if saved is not None and saved["settings"] == self._settings[signal]:
                detector.load_state_dict(saved["state"])

    def _numbers(self, signal: str, values: Iterable[float]) -> Iterator[Detection]:
        if signal not in self._detectors:
            return iter(())
        return self._feed(signal, (value for value in map(float, values) if math.isfinite(value)))

    def _feed(self, signal: str, values: Iterable[Any]) -> Iterator[Detection]:
        detector, name = self._detectors.get(signal), self._names.get(signal, "")
        if detector is None:
            return
        for value in values:
            self.counts[signal] += 1
            if detector.update(value):
                self.detections[name, signal] += 1
                yield Detection(name, signal, float(detector.statistic), float(detector.threshold), self.counts[signal])
