"""A second task, the smallest there is: a text's label is a number. Not for use: it proves that nothing outside a
task's own file takes a label for the name of a class. The head has one row, and the squared error is the loss.
"""

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from streamlearn.core.describe import shown
from streamlearn.core.refusal import Refusal
from streamlearn.core.registry import Config as BaseConfig
from streamlearn.core.target import Column, Judged

KEPT = np.dtype([("value", "<f8")])


class Numbers:
    wanted = "a number"

    def taken(self, values):
        return [None if value is None else self.checked(value, "label") for value in values]

    def checked(self, value: Any, path: str):
        if type(value) not in {int, float} or not math.isfinite(value):
            raise Refusal("label-type", f"{path!r} is {shown(value)}; it should be {self.wanted}")
        return float(value)

    def admitted(self, target, path):
        return target

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert state == {}


class NumberAnswer:
    def __init__(self, values, judge):
        self.values, self.judge = values, judge

    def __len__(self):
        return len(self.values)

    def extended(self, others):
        return NumberAnswer(np.concatenate([self.values, *(each.values for each in others)]), self.judge)

    def published(self):
        return [{"value": value} for value in self.values.tolist()]

    def named(self):
        return [None] * len(self.values)

    def confidences(self):
        return np.full(len(self.values), np.nan)

    def doubts(self):
        return np.zeros(len(self.values))

    def kept(self, rows):
        head = np.zeros(len(rows), KEPT)
        head["value"] = self.values[list(rows)]
        return head

    def judged(self, rows, targets):
        return self.judge.judge(self.kept(rows), targets)


class MeanAbsoluteError:
    def __init__(self):
        self.count_, self.sum = 0, 0.0

    def count(self, said, target, sign):
        if said is not None:
            self.count_, self.sum = self.count_ + sign, self.sum + sign * abs(said - target)

    def figures(self):
        return {"mae": self.sum / self.count_ if self.count_ else math.nan}


class NumberTask:
    class Config(BaseConfig):
        """Nothing to set."""

    classes = False
    nothing: Mapping[str, Any] = MappingProxyType({"value": None})
    kept = KEPT
    column = Column(np.dtype(np.float32))
    outputs = 1
    groups: Sequence[str] = ("negative", "positive")

    def __init__(self, config):
        self.config = config

    def targets(self, max_labels):
        return Numbers()

    def encode(self, targets):
        return np.array(targets, np.float32)

    def group_numbers(self, encoded):
        return (encoded >= 0).astype(np.int64)

    def group(self, target):
        return "positive" if target >= 0 else "negative"

    def loss(self, output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return functional.mse_loss(output[:, 0], labels)

    def losses(self, output, labels):
        return (output[:, 0] - labels).square()

    def answer(self, output, top_k):
        return NumberAnswer(output[:, 0].double().cpu().numpy().round(6), self)

    def unknown(self, n):
        return np.full(n, np.nan, np.float64).view(KEPT)

    def judge(self, kept, targets):
        said = [None if math.isnan(value) else value for value in kept["value"].tolist()]
        errors = [self.error(each, target) for each, target in zip(said, targets, strict=True)]
        losses = [36.0 if each is None else (each - t) ** 2 for each, t in zip(said, targets, strict=True)]
        return Judged(said, errors, losses, [math.nan] * len(said))

    def error(self, said, target):
        return 1.0 if said is None else min(1.0, abs(said - target) / 2)

    def columns(self, kept):
        return {"value": kept["value"].copy()}

    def restored(self, columns: Mapping[str, Any]):
        return columns["value"].astype(np.float64).view(KEPT)

    def targets_packed(self, targets):
        return {"labels": np.array([math.nan if each is None else each for each in targets], np.float64)}

    def targets_unpacked(self, state):
        return [None if math.isnan(each) else each for each in state["labels"].tolist()]

    def measure(self):
        return MeanAbsoluteError()

    def known_from(self, labels):
        raise AssertionError("a checkpoint's labels are no numbers")

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass
