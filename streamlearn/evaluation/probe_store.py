"""The samples that are probes, in slots, with how each was answered last."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from streamlearn.core.batch import Sample
from streamlearn.core.target import Target
from streamlearn.evaluation.cohorts import NEVER, RIGHT, WRONG
from streamlearn.evaluation.prequential import expected_calibration_error


class ProbeStore:
    """Holds at most `slots` samples; adding, removing and looking up by id take constant time.

    One thread changes it; others may read the figures meanwhile.
    """

    def __init__(self, slots: int) -> None:
        self.slot_of: dict[str, int] = {}
        self._samples: list[Sample | None] = [None] * slots
        self._free = list(range(slots))[::-1]
        self._now: npt.NDArray[np.int8] = np.full(slots, NEVER, np.int8)  # the last answer
        self._before: npt.NDArray[np.int8] = np.full(slots, NEVER, np.int8)  # the one before it
        self._confidence: npt.NDArray[np.float64] = np.zeros(slots)

    def __getitem__(self, slot: int) -> Sample:
        sample = self._samples[slot]
        assert sample is not None
        return sample

    def add(self, sample: Sample) -> int:
        """Hold a copy of the sample, and return its slot."""
        slot = self._free.pop()
        tokens = sample.tokens.astype(np.int32)  # a copy: a view would keep its whole batch alive
        self._samples[slot] = Sample(sample.id, tokens, sample.label)
        self.slot_of[sample.id] = slot
        return slot

    def release(self, slot: int) -> None:
        """Forget what is in the slot."""
        del self.slot_of[self[slot].id]
        self._samples[slot] = None
        self._now[slot] = self._before[slot] = NEVER
        self._confidence[slot] = 0
        self._free.append(slot)

    def answered(self, slot: int, right: bool, confidence: float) -> None:
        """Take in the answer to one probe."""
        now = RIGHT if right else WRONG
        self._before[slot], self._now[slot], self._confidence[slot] = self._now[slot], now, confidence

    @property
    def negative_flip_ratio(self) -> float:
        """Among the probes that were right at their answer before the last, the share that is wrong now; or nan."""
        now, right = self._now.copy(), self._before == RIGHT
        return float((now[right] == WRONG).mean()) if right.any() else math.nan

    @property
    def calibration_error(self) -> float:
        """Expected calibration error over the last answer to each probe; nan before any."""
        now = self._now.copy()
        return expected_calibration_error(self._confidence[now != NEVER], now[now != NEVER] == RIGHT)

    def state_dict(self, slots: Sequence[int]) -> dict[str, Any]:
        """Return what these slots hold, in this order, as tensors and JSON values."""
        tokens = [self[slot].tokens for slot in slots]
        rows = np.array(slots, np.int64)
        return {
            "ids": [self[slot].id for slot in slots],
            "tokens": torch.from_numpy(np.concatenate([*tokens, np.zeros(0, np.int32)])),
            "lengths": torch.tensor([len(row) for row in tokens], dtype=torch.int32),
            "now": torch.from_numpy(self._now[rows]),
            "before": torch.from_numpy(self._before[rows]),
            "confidence": torch.from_numpy(self._confidence[rows]),
        }

    def load_state_dict(self, state: dict[str, Any], labels: Sequence[Target]) -> None:
        """Fill an empty store from slot 0 on; `labels` names the label of each sample of the state."""
        ends = np.cumsum([0, *state["lengths"].tolist()]).tolist()
        tokens = state["tokens"].numpy()
        for row, (sample_id, label) in enumerate(zip(state["ids"], labels, strict=True)):
            slot = self.add(Sample(sample_id, tokens[ends[row] : ends[row + 1]], label))
            assert slot == row
        for column, name in ((self._now, "now"), (self._before, "before"), (self._confidence, "confidence")):
            column[: len(labels)] = state[name].numpy()
