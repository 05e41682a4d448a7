"""What a figure is, of those that the service tells of itself, and how one with labels is read."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from streamlearn.core.other import OTHER, apart
from streamlearn.core.timing import Histogram

if TYPE_CHECKING:
    from streamlearn.service.loop import Service

ABSTAINED = ""  # no label can be called so

# A number, or one for each value of the label; of several labels, for each tuple of their values. What is not known is
# nan or infinite, or is not there: a gap on dashboards and null in JSON, not a false figure.
Reading = float | Mapping[Any, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Where JSON shows a figure.

    Args:
        summary: its key in `--json`; one with `known` values is shown by them, any other as its sum.
        rises: it counts up, and `this_run` of `--json` shows by how much; what is exported as a counter always does.
        page: its key in `now` of /api/state, which shows the sum.
        row: its key in a row of `labels` of /api/state.
    """

    summary: str | None = None
    rises: bool = False
    page: str | None = None
    row: str | None = None


@dataclass(frozen=True, slots=True)
class Entry(Shown):
    """A metric: what it is called (without the prefix), what it means, how to read it, and its labels.

    `known` are values that its one label has from the start.
    """

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    read: "Callable[[Service], Reading]"
    labels: tuple[str, ...] = ()
    known: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Figure(Shown):
    """What JSON shows, and no metric does."""

    read: "Callable[[Service], float]"


@dataclass(frozen=True, slots=True)
class HistogramEntry:
    """A histogram: like `Entry`, but what is read are histograms, each with the values of its labels."""

    name: str
    help: str
    read: "Callable[[Service], Iterable[tuple[tuple[str, ...], Histogram]]]"
    labels: tuple[str, ...] = ()


def own_labels(service: "Service") -> Sequence[str]:
    """Return the labels that have figures of their own: the first `metrics.max_labels` that became known."""
    return service.learner.task.groups[: service.root.metrics.max_labels]


def drift(service: "Service") -> dict[tuple[str, str], tuple[float, float]]:
    """Return what each drift detector reads, statistic and threshold, by detector and signal."""
    readings = service.measures.monitor.readings() if service.measures.monitor is not None else ()
    return {(each.detector, each.signal): (each.statistic, each.threshold) for each in readings}


def by_label(service: "Service", counts: Mapping[str, float]) -> Counter[str]:
    """Count what is past the bound as the rest."""
    own, bounded = set(own_labels(service)), Counter[str]()
    for label, count in counts.items():
        bounded[apart(label) if label in own else OTHER] += int(count)
    return bounded


def fractions(service: "Service", values: Mapping[str, float]) -> dict[str, float]:
    """Leave out what is past the bound, since fractions do not add up."""
    own = set(own_labels(service))
    return {apart(label): value for label, value in values.items() if label in own}


def predictions(service: "Service") -> Counter[str]:
    """Return how often each label was predicted; answers that name none are among the rest."""
    counts = service.totals.predictions.copy()
    shown = by_label(service, {label: count for label, count in counts.items() if label is not None})
    if None in counts:
        shown[ABSTAINED] = counts[None]
    return shown


def memory(service: "Service") -> Counter[str]:
    """Return the samples of each label in the replay memory."""
    names, counts = list(service.learner.task.groups), service.learner.memory.counts()
    return by_label(service, {name: counts.get(number, 0) for number, name in enumerate(names)})


def mean(histogram: Histogram) -> float:
    """Return the mean of what was observed; nan where nothing was."""
    count = sum(histogram.counts)
    return histogram.sum / count if count else math.nan
