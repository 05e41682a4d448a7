"""The table of an evaluation: a row for each strategy and seed, and their mean where there are several seeds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from rich import box
from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

Figures = Mapping[str, Any]


class Column(NamedTuple):
    """A figure: its title, where it stands, how it is written, and what it is."""

    title: str
    value: Callable[[Figures], float | None]
    write: Callable[[float], str]
    meaning: str


def share(value: float) -> str:
    """Write a fraction as per cent."""
    return f"{100 * value:.1f}"


def count(value: float) -> str:
    """Write a count."""
    return f"{value:,.0f}"


def size(value: float) -> str:
    """Write bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB"):
        if value < 1024:
            return f"{value:.0f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def _of(name: str, inner: str | None = None) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        found = figures[name]
        number: float | None = found if inner is None or found is None else found[inner]
        return number

    return value


def _own(name: str) -> Column:
    def value(figures: Figures) -> float | None:
        number: float | None = (figures["measures"]["final"] or {}).get(name)
        return number

    return Column(
        name, value, lambda number: f"{number:,.3f}", "the task's own figure on the whole test set, at the end"
    )


COLUMNS = (
    Column("final", _of("final_accuracy"), share, "accuracy on the whole test set, at the end"),
    Column(
        "average",
        _of("average_accuracy"),
        share,
        "mean over the groups that came of the accuracy on each one's test samples, at the end",
    ),
    Column(
        "anytime",
        _of("anytime_accuracy"),
        share,
        "mean over the points where the test set was asked of the accuracy on the classes that had come",
    ),
    Column(
        "prequential", _of("prequential_accuracy"), share, "right predictions, each made before its label was learned"
    ),
    Column(
        "forgetting",
        _of("forgetting"),
        share,
        "mean over groups of the best accuracy before the last group, minus the one at the end",
    ),
    Column(
        "backward",
        _of("backward_transfer"),
        share,
        "mean over groups of the accuracy at the end, minus the one when the group was just learned",
    ),
    Column(
        "forward",
        _of("forward_transfer"),
        share,
        "mean over groups of the accuracy just before the group came, minus the untrained model's",
    ),
    Column(
        "flips",
        _of("negative_flips"),
        share,
        "of the test samples right at a point, the share that is wrong at the next",
    ),
    Column("typos", _of("robustness", "typos"), share, "final accuracy on the misspelt test set"),
    Column(
        "wrong labels", _of("robustness", "label_noise"), share, "final accuracy where a share of the labels was wrong"
    ),
    Column(
        "labels to 80",
        _of("labels_to_80", "median"),
        count,
        "labels that a class of the stream's second half needs to reach a recall of 80 % (median)",
    ),
    Column(
        "events/s",
        _of("samples_per_second"),
        count,
        "events predicted and learned in a second of wall-clock time, whatever else the machine did",
    ),
    Column("memory", _of("memory_bytes"), size, "bytes of the replay memory and of the strategy's statistics"),
)

PER_LABEL = ("precision", "recall", "f1", "support")


def shown(figures: Sequence[Figures]) -> list[Column]:
    """Return the columns that any of the evaluations has a value for; the task's own figures come last."""
    names = dict.fromkeys(name for each in figures for name in each["measures"]["final"] or ())
    columns = [*COLUMNS, *map(_own, names)]
    return [column for column in columns if any(column.value(each) is not None for each in figures)]


def by_strategy(figures: Sequence[Figures]) -> dict[str, list[Figures]]:
    """Return the evaluations of each strategy, in the order in which they were made."""
    found: dict[str, list[Figures]] = {}
    for each in figures:
        found.setdefault(each["strategy"], []).append(each)
    return found


def spread(column: Column, figures: Sequence[Figures]) -> tuple[float, float, float] | None:
    """Return mean, least and greatest value over the evaluations that have one."""
    values = [value for each in figures if (value := column.value(each)) is not None]
    return (sum(values) / len(values), min(values), max(values)) if values else None


def cell(column: Column, figures: Sequence[Figures]) -> str:
    """Write a figure; of several evaluations the mean, with least and greatest."""
    found = spread(column, figures)
    if found is None:
        return "-"
    mean, low, high = map(column.write, found)
    return mean if len(figures) == 1 else f"{mean} ({low}..{high})"


def table(figures: Sequence[Figures], width: int) -> Group:
    """Return the table, and what has to be said beside it; lying where it is wider than `width` characters."""
    drawn = _standing(figures)
    if Console(width=1000).measure(drawn).maximum > width:
        drawn = _lying(figures)
    return Group(drawn, *map(Text, notes(figures)))


def _lying(figures: Sequence[Figures]) -> Table:
    """Return a row for each figure and a column for each strategy: the mean over its seeds, least and greatest."""
    strategies = by_strategy(figures)
    drawn = _empty(figures)
    drawn.add_column("")
    for name, runs in strategies.items():
        drawn.add_column(escape(name) + (f" ({len(runs)} seeds)" if len(runs) > 1 else ""), justify="right")
    for column in shown(figures):
        drawn.add_row(column.title, *(cell(column, runs) for runs in strategies.values()))
    return drawn


def _standing(figures: Sequence[Figures]) -> Table:
    columns = shown(figures)
    drawn = _empty(figures)
    drawn.add_column("strategy")
    drawn.add_column("seed", justify="right")
    for column in columns:
        drawn.add_column(column.title, justify="right")
    for name, runs in by_strategy(figures).items():
        for run in runs:
            title = escape(name) + ("" if run["finished"] else " (stopped)")
            drawn.add_row(title, str(run["seed"]), *(cell(column, [run]) for column in columns))
        whole = [run for run in runs if run["finished"]]
        if len(whole) > 1:
            means = (spread(column, whole) for column in columns)
            cells = [
                "-" if mean is None else column.write(mean[0]) for column, mean in zip(columns, means, strict=True)
            ]
            drawn.add_row(escape(name), "mean", *cells, style="bold")
            drawn.add_section()
    return drawn


def _empty(figures: Sequence[Figures]) -> Table:
    title = f"Order {figures[0]['order']}; accuracies in %"
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title, title_justify="left")


def notes(figures: Sequence[Figures]) -> list[str]:
    """Say what became dead letters, and what was not finished."""
    letters: dict[str, int] = figures[0]["dead_letters"]
    found = []
    if letters:
        reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(letters.items()))
        found.append(f"{sum(letters.values())} lines became dead letters: {reasons}")
    found += [
        f"{each['strategy']}, seed {each['seed']} was stopped after {each['samples']:,} events"
        for each in figures
        if not each["finished"]
    ]
    return found
