"""What happened so far, in plain numbers: the loop writes them, the exporter and the summary read them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from streamlearn.core.timing import Histogram

DELAY = (1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 259200, 604800, 2592000)
LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
AGE = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 604800)


@dataclass
class Totals:
    """Counters of one learner. `labels` counts by outcome, `dead_letters` by reason, `predictions` by label, where
    None stands for an abstention, `expired` events that left without a label, by what bounded their wait."""

    events: int = 0
    predictions: Counter[str | None] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)
    samples_new: int = 0
    samples_replayed: int = 0
    steps_skipped: int = 0
    novel: int = 0
    duplicates: int = 0
    forgets: int = 0
    expired: Counter[str] = field(default_factory=Counter)
    label_requests: int = 0
    tokens: int = 0
    unknown_tokens: int = 0
    # Of this process alone: they are not in the state.
    latency: Histogram = field(default_factory=lambda: Histogram(LATENCY))
    age: Histogram = field(default_factory=lambda: Histogram(AGE))
    delay: Histogram = field(default_factory=lambda: Histogram(DELAY))

    def state_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values; counters become pairs, since None is one of their keys."""
        return {
            name: [[key, count] for key, count in value.items()] if isinstance(value, Counter) else value
            for name, value in self._counts().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the counts of another; one that it does not know begins at zero."""
        for name, value in self._counts().items():
            if name in state:
                counter = isinstance(value, Counter)
                setattr(self, name, Counter({k: int(n) for k, n in state[name]}) if counter else int(state[name]))

    def _counts(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if not isinstance(value, Histogram)}
