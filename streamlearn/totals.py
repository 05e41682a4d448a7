"""What happened so far, in plain numbers: the loop writes them, the exporter and the summary read them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from streamlearn.stages import Histogram

LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
AGE = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 604800)


@dataclass
class Totals:
    """Counters of one learner. `labels` counts by outcome, `dead_letters` by reason, `predictions` by label, where
    None stands for an abstention."""

    events: int = 0
    predictions: Counter[str | None] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    samples_new: int = 0
    samples_replayed: int = 0
    steps_skipped: int = 0
    commits: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    unknown_tokens: int = 0
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY))
    age: Histogram = field(default_factory=lambda: Histogram(AGE))

    def state_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values; counters become pairs, since None is one of their keys."""
        return {
            each.name: [[key, count] for key, count in value.items()]
            if isinstance(value := getattr(self, each.name), Counter)
            else value.state_dict()
            if isinstance(value, Histogram)
            else value
            for each in fields(self)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the counts of another; one that it does not know begins at zero."""
        for each in fields(self):
            if each.name not in state:
                continue
            value, saved = getattr(self, each.name), state[each.name]
            if isinstance(value, Counter):
                setattr(self, each.name, Counter({key: int(count) for key, count in saved}))
            elif isinstance(value, Histogram):
                value.load_state_dict(saved)
            else:
                setattr(self, each.name, int(saved))
