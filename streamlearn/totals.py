"""What happened so far, in plain numbers: the loop writes them, the exporter and the summary read them."""

from collections import Counter
from dataclasses import dataclass, field

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
