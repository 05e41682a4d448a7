"""Which events are worth a label: active learning on a stream, within a budget.

Žliobaitė, Bifet, Pfahringer and Holmes, "Active learning with drifting streaming data", IEEE Transactions on Neural
Networks and Learning Systems 25, 2014: ask where the model is in doubt, with a threshold that moves so that the budget
is met, and ask some at random, since what the model is sure of may have changed. Here the threshold is a quantile of
the latest doubts, so it has no step width, and what is left of the budget moves the quantile.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from streamlearn.core import rng
from streamlearn.serving.config import LabelRequestsConfig
from streamlearn.serving.predictor import Reply
from streamlearn.stream.events import Event, Prediction

WINDOW = 1000  # the latest events, which say what doubt is high
SAVED = 200  # events whose budget may be saved up
STEEP = 8.0  # so much more than the budget is wanted where all of it is left, and so much less where none is
NOTHING_KNOWN = 2.0  # doubt where no label is known; it is 0 to 1 where some are, and 1 more of a novel event


class LabelRequests:
    """Decides for one event after the other, in their order, whether to ask for its label.

    Each event adds `budget` to what may be spent, up to what `SAVED` events add and 1, and a request costs 1. So of any
    n events in a row at most n * budget + SAVED * budget + 1 are asked for. The more is left, the larger the share that
    is wanted: just the budget where half is left.

    Events that would become probes (`probes.share`) are asked for by chance alone: probes stand for the stream as it
    is, and those that a model doubts would make it look worse.

    Args:
        config: see `LabelRequestsConfig`.
        seed: of what is drawn; an event's draw depends on its id alone.
        probes: the share of labelled events that may become probes.
    """

    def __init__(self, config: LabelRequestsConfig, *, seed: int, probes: float) -> None:
        self.config, self.probes = config, probes
        self.burst = 1 + SAVED * config.budget
        self.credit = self.burst
        self.recent: deque[bool] = deque(maxlen=WINDOW)  # of the latest events, which were asked for
        self._key = seed.to_bytes(16, "little")
        self._window: deque[tuple[float, float]] = deque()  # doubt and luck
        self._sorted: list[tuple[float, float]] = []

    @property
    def share(self) -> float:
        """The share of the latest events that was asked for; nan before any."""
        recent = self.recent.copy()
        return sum(recent) / len(recent) if recent else float("nan")

    def mark(self, events: Sequence[Event], reply: Reply, made: list[Prediction]) -> list[Prediction]:
        """Return the predictions with what is asked for; as they are where no budget is set.

        An event that has its label already, or no id by which one would find it, is passed over: it is neither asked
        for nor counted.
        """
        if not self.config.budget:
            return made
        doubts = doubt(reply, [each.novel for each in made])
        return [
            prediction._replace(
                label_requested=event.label is None and event.has_own_id and self.ask(event.id, in_doubt)
            )
            for event, prediction, in_doubt in zip(events, made, doubts, strict=True)
        ]

    def ask(self, event_id: str, in_doubt: float) -> bool:
        """Take in the next event; return whether to ask for its label."""
        budget, luck = self.config.budget, rng.share(event_id, self._key, "requests")
        self.credit = min(self.credit + budget, self.burst)
        wanted = budget * STEEP ** (2 * self.credit / self.burst - 1)
        place = (in_doubt, luck)  # of equal doubts chance decides
        rank = bisect_left(self._sorted, place) / len(self._sorted) if self._sorted else 1.0
        if rng.share(event_id, self._key, "probes") < self.probes:
            asked = luck < wanted
        else:
            asked = luck < wanted * self.config.at_random or rank >= 1 - wanted * (1 - self.config.at_random)
        asked = asked and self.credit >= 1
        self.credit -= asked
        self.recent.append(asked)
        self._window.append(place)
        insort(self._sorted, place)
        if len(self._window) > WINDOW:
            del self._sorted[bisect_left(self._sorted, self._window.popleft())]
        return asked

    def state_dict(self) -> dict[str, Any]:
        """Return what the next decisions depend on, oldest first."""
        return {
            "credit": self.credit,
            "recent": torch.tensor(list(self.recent), dtype=torch.bool),
            "window": torch.tensor(list(self._window), dtype=torch.float64).reshape(-1, 2),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over another's decisions; what is left of another budget is cut to this one's."""
        self.credit = min(float(state["credit"]), self.burst)
        self.recent.clear()
        self.recent.extend(state["recent"].tolist())
        self._window = deque((in_doubt, luck) for in_doubt, luck in state["window"].tolist())
        self._sorted = sorted(self._window)


def doubt(reply: Reply, novel: Sequence[bool]) -> list[float]:
    """Return how much is in doubt what was said of each event: what the task says of its answers, and 1 more where no
    known class covers the event."""
    if reply.answer is None:
        return [NOTHING_KNOWN] * len(reply.tokens)
    values = reply.answer.doubts() + np.array(novel, dtype=np.float64)
    found: list[float] = np.nan_to_num(values, nan=NOTHING_KNOWN).tolist()
    return found
