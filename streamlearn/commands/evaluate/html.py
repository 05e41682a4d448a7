"""The HTML report: one file with its style and its drawings inside, which opens without a network."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from streamlearn.commands.evaluate import report, svg
from streamlearn.commands.evaluate.one_pass import Evaluation
from streamlearn.commands.evaluate.report import Figures

WORST = 15  # labels of each strategy that the page names

Rows = Sequence[Sequence[str]]


def page(done: Sequence[Evaluation], train: str, test: str | None) -> str:
    """Return the report of some evaluations as HTML; every text that is not ours is escaped."""
    figures = [each.figures for each in done]
    runs, columns = report.by_strategy(figures), report.shown(figures)
    template = files("streamlearn.commands.evaluate").joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.from_string(template).render(
        sentence=_sentence(figures, train, test),
        notes=report.notes(figures),
        head=["strategy", "seeds", *(column.title for column in columns)],
        rows=[
            [name, str(len(some)), *(report.cell(column, some) for column in columns)] for name, some in runs.items()
        ],
        meanings=[(column.title, column.meaning) for column in columns],
        curves=svg.curves(_by_name(done)),
        maps=_maps(runs),
        costs=_costs(runs),
        per_label=["label", *report.PER_LABEL],
        worst=_worst(runs),
        settings=_settings(figures),
    )


def _sentence(figures: Sequence[Figures], train: str, test: str | None) -> str:
    seeds = sorted({each["seed"] for each in figures})
    asked = f"tested on {test}" if test is not None else "without a test set"
    most = max(each["samples"] for each in figures)
    given = figures[0]["configuration"]
    return (
        f"One pass of {given['model.name']} over {most:,} events of {train}, order {figures[0]['order']}, {asked}; "
        f"{'seeds' if len(seeds) > 1 else 'seed'} {', '.join(map(str, seeds))}; memory of "
        f"{given['memory.capacity']:,} samples, batches of {given['learner.batch_size']}."
    )


def _by_name(done: Sequence[Evaluation]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for each in done:
        found.setdefault(each.figures["strategy"], []).append(each.outcomes)
    return found


def _maps(by_strategy: Mapping[str, Sequence[Figures]]) -> list[tuple[str, str]]:
    """Return each strategy's drawing of its accuracy matrices; of a stream with one group there is none.

    Where a limit cuts the stream, seeds may have different numbers of groups, and each number has a drawing of its own.
    """
    drawn = []
    for name, runs in by_strategy.items():
        by_size: dict[int, list[Figures]] = {}
        for run in runs:
            if run["accuracy_matrix"] is not None:
                by_size.setdefault(len(run["accuracy_matrix"]), []).append(run)
        for size, some in sorted(by_size.items()):
            seeds = ", ".join(str(run["seed"]) for run in some)
            caption = name if len(by_size) == 1 else f"{name}, {size} groups: seed{'s' * (len(some) > 1)} {seeds}"
            if size > 1:
                drawn.append((caption, svg.heat_map([run["accuracy_matrix"] for run in some])))
    return drawn


def _costs(by_strategy: Mapping[str, Sequence[Figures]]) -> str:
    """Return the drawing of speed and accuracy; nothing without a test set."""
    final, speed = (
        next(column for column in report.COLUMNS if column.title == title) for title in ("final", "events/s")
    )
    spots = {}
    for name, runs in by_strategy.items():
        accuracy, events = report.spread(final, runs), report.spread(speed, runs)
        if accuracy is not None and events is not None:
            spots[name] = (events, accuracy)
    return svg.spots(spots) if spots else ""


def _worst(by_strategy: Mapping[str, Sequence[Figures]]) -> list[tuple[str, Rows]]:
    """Return the labels of each strategy with the least F1, with the means of their figures over the seeds."""
    tables: list[tuple[str, Rows]] = []
    for name, runs in by_strategy.items():
        reports = [run["per_label"] for run in runs if run["per_label"] is not None]
        if not reports:
            continue
        means = {
            label: [sum(each[label][figure] for each in reports) / len(reports) for figure in report.PER_LABEL]
            for label in reports[0]
        }
        worst = sorted(means, key=lambda label: means[label][2])[:WORST]
        rows = [[label, *map(report.share, means[label][:3]), f"{means[label][3]:.0f}"] for label in worst]
        tables.append((name, rows))
    return tables


def _settings(figures: Sequence[Figures]) -> list[tuple[str, Rows]]:
    """Return the configuration of each strategy, and the groups of each seed."""
    found: list[tuple[str, Rows]] = []
    for name, runs in report.by_strategy(figures).items():
        values = {key: value for key, value in runs[0]["configuration"].items() if key != "seed"}
        found.append((name, [(key, json.dumps(value)) for key, value in values.items()]))
    of_seed = {each["seed"]: each["groups"] for each in figures if each["groups"] is not None}
    for seed, groups in of_seed.items():
        rows = [(str(at), ", ".join(labels)) for at, labels in enumerate(groups, 1)]
        found.append((f"groups, seed {seed}", rows))
    return found
