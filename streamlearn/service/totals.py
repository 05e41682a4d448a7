"""What happened so far, in plain numbers: the loop has them counted, the exporter and the summary read them."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from streamlearn.core.timing import Histogram
from streamlearn.durability.journal import Writer
from streamlearn.learning.learner import Update
from streamlearn.service.intake import Prepared
from streamlearn.service.measures import ProbeSplit
from streamlearn.stream.events import Prediction

UNNAMED = ""  # no label can be called so

DELAY = (1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 259200, 604800, 2592000)
LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
AGE = (0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400, 604800)


@dataclass
class Totals:
    """Counters of one learner. `labels` counts by outcome, `dead_letters` by reason, `predictions` by the
    label that is named first, where None stands for an abstention and `UNNAMED` for any other answer that names none,
    `expired` events that left without a label, by what bounded their wait."""

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

    def count(self, batch: Prepared) -> None:
        """Count what a batch brought, and what was said of it."""
        join = batch.join
        self.events += batch.came.of_events
        self.duplicates += join.duplicates
        self.forgets += len(join.forgotten)
        self.labels.update(join.outcomes)
        self.expired.update(join.expired)
        if batch.predictions:
            said = dict(zip(Prediction._fields, zip(*batch.predictions, strict=True), strict=True))
            answers = zip(said["abstained"], said["label"], strict=True)
            self.predictions.update([None if abstained else label or UNNAMED for abstained, label in answers])
            self.novel += sum(said["novel"])
            self.label_requests += sum(map(bool, said["label_requested"]))
        self.dead_letters.update(letter.reason for letter in batch.dead_letters)
        self.tokens += sum(map(len, batch.reply.tokens))
        self.unknown_tokens += int(batch.reply.unknown.sum())
        self.count_probes(batch.seen)

    def count_probes(self, seen: ProbeSplit) -> None:
        """Count the labels that became probes."""
        if seen.probes:  # a counter shows what it was once told of, were it nothing
            self.labels["probe"] += seen.probes

    def count_update(self, update: Update) -> None:
        """Count what was learned."""
        self.labels["learned" if update.steps else "discarded"] += update.samples
        self.samples_new += update.samples * update.steps
        self.samples_replayed += update.replayed
        self.steps_skipped += update.skipped

    def time(self, batch: Prepared, seconds: float, now: float) -> None:
        """Take what users wait for; it is of this process, since what is applied again makes nobody wait."""
        self.latency.observe(seconds, len(batch.events))
        if batch.events:
            times = np.array([event.time for event in batch.events])
            self.age.observe_all(np.maximum(now - times[times > 0], 0.0))  # a log may know no time
        if batch.join.delays:
            self.delay.observe_all(np.array(batch.join.delays))

    def heading(self, writer: Writer, now: float) -> dict[str, Any]:
        """Return what every journal record begins with."""
        return {**writer.common(now), "outcomes": dict(self.labels)}

    def state_dict(self) -> dict[str, Any]:
        """Return all counts as JSON values; counters become pairs, since None is one of their keys."""
        return {
            name: [[key, count] for key, count in value.items()] if isinstance(value, Counter) else value
            for name, value in self._counts().items()
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the counts of another."""
        for name, value in self._counts().items():
            counter = isinstance(value, Counter)
            setattr(self, name, Counter({k: int(n) for k, n in state[name]}) if counter else int(state[name]))

    def _counts(self) -> dict[str, Any]:
        values = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in values.items() if not isinstance(value, Histogram)}
