"""The HTML report: one file with its style and its drawings inside, which opens without a network."""

import json
from collections.abc import Iterable, Sequence
from html import escape

from streamlearn.commands.evaluate import report
from streamlearn.commands.evaluate import svg as plots
from streamlearn.commands.evaluate.one_pass import Evaluation
from streamlearn.commands.evaluate.report import Figures

WORST = 15  # labels of each strategy that the page names

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --dim: #667; --page: #fff; --line: #d5d8de; --heat: 30, 100, 200;
  --s0: #0969da; --s1: #c2410c; --s2: #15803d; --s3: #9333ea;
  --s4: #b45309; --s5: #0e7490; --s6: #be185d; --s7: #57606a; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8eb; --dim: #9aa4af; --page: #14171b; --line: #363c44; --heat: 90, 160, 255;
    --s0: #58a6ff; --s1: #fb923c; --s2: #4ade80; --s3: #c084fc;
    --s4: #fbbf24; --s5: #22d3ee; --s6: #f472b6; --s7: #adb5bd; }
}
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 62rem;
  margin: 2rem auto; padding: 0 1rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
dt { font-weight: 600; }
dd { margin: 0 0 .3rem 1.5rem; overflow-wrap: anywhere; }
th:first-child, td:first-child { text-align: left; }
p, figcaption { color: var(--dim); max-width: 46rem; }
figure { margin: 1.5rem 0; }
svg { width: 100%; height: auto; max-width: 46rem; }
svg text { font: 12px system-ui, sans-serif; fill: var(--dim); }
svg .axis { stroke: var(--line); }
svg .line { fill: none; stroke-width: 2; }
svg .band { opacity: .18; stroke: none; }
svg .heat text { fill: var(--ink); }
.maps { display: flex; flex-wrap: wrap; gap: 1rem; }
.maps figure { flex: 1 1 20rem; max-width: 30rem; margin: 0; }
"""


def page(done: Sequence[Evaluation], train: str, test: str | None) -> str:
    """Return the report of some evaluations as HTML; every text that is not ours is escaped."""
    figures = [each.figures for each in done]
    body = [
        "<h1>Evaluation</h1>",
        f"<p>{escape(_sentence(figures, train, test))}</p>",
        *(f"<p>{escape(note)}</p>" for note in report.notes(figures)),
        _table(figures),
        _section(
            "Prequential accuracy",
            [_figure(plots.curves(_by_name(done)), "Right predictions among the last tenth of the events, each made "
             "before its label was learned. The band reaches from the least to the greatest of the seeds.")],
        ),
        _section("Accuracy of each group of classes", _maps(figures)),
        _section("Cost against accuracy", _costs(figures)),
        _section("Labels that are answered worst", _worst(figures)),
        _section("What was evaluated", _settings(figures)),
    ]  # fmt: skip
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<title>streamlearn evaluate</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + "\n".join(part for part in body if part) + "\n</body>\n</html>\n"
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


def _table(figures: Sequence[Figures]) -> str:
    columns = report.shown(figures)
    head = "".join(f"<th>{escape(title)}</th>" for title in ("strategy", "seeds", *(each.title for each in columns)))
    lines = []
    for name, runs in report.by_strategy(figures).items():
        cells = (escape(name), str(len(runs)), *(escape(report.cell(column, runs)) for column in columns))
        lines.append("<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>\n'
        "<p>Accuracies in per cent; of several seeds the mean, and the least and greatest value.</p>\n"
        + _details("What the columns are", [(column.title, column.meaning) for column in columns])
    )


def _section(title: str, figures: Iterable[str]) -> str:
    inner = "\n".join(figures)
    return f"<h2>{escape(title)}</h2>\n{inner}" if inner else ""


def _figure(drawing: str, caption: str) -> str:
    return f"<figure>{drawing}<figcaption>{escape(caption)}</figcaption></figure>" if drawing else ""


def _by_name(done: Sequence[Evaluation]) -> dict[str, list[list[float]]]:
    found: dict[str, list[list[float]]] = {}
    for each in done:
        found.setdefault(each.figures["strategy"], []).append(each.outcomes)
    return found


def _maps(figures: Sequence[Figures]) -> list[str]:
    drawn = []
    for name, runs in report.by_strategy(figures).items():
        matrices = [run["accuracy_matrix"] for run in runs if run["accuracy_matrix"] is not None]
        if matrices and len(matrices[0]) > 1:
            drawn.append(_figure(plots.heat_map(matrices), name))
    if not drawn:
        return []
    return [
        "<p>Row: after which group. Column: whose test samples are asked. In per cent, the mean over the seeds.</p>",
        f'<div class="maps">{"".join(drawn)}</div>',
    ]


def _costs(figures: Sequence[Figures]) -> list[str]:
    spots = {}
    for name, runs in report.by_strategy(figures).items():
        final, speed = (
            report.spread(next(column for column in report.COLUMNS if column.title == title), runs)
            for title in ("final", "events/s")
        )
        if final is not None and speed is not None:
            spots[name] = (speed, final)
    caption = (
        "Final accuracy over the events that were predicted and learned in a second of wall-clock time; bars from the "
        "least to the greatest."
    )
    return [_figure(plots.spots(spots), caption)] if spots else []


def _settings(figures: Sequence[Figures]) -> list[str]:
    """Return the configuration of each strategy, and the groups of each seed."""
    found = []
    for name, runs in report.by_strategy(figures).items():
        values = {key: value for key, value in runs[0]["configuration"].items() if key != "seed"}
        found.append(_details(name, [(key, json.dumps(value)) for key, value in values.items()]))
    of_seed = {each["seed"]: each["groups"] for each in figures if each["groups"] is not None}
    for seed, groups in of_seed.items():
        rows = [(str(at), ", ".join(labels)) for at, labels in enumerate(groups, 1)]
        found.append(_details(f"groups, seed {seed}", rows))
    return found


def _details(title: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f"<details><summary>{escape(title)}</summary><dl>{lines}</dl></details>"


def _worst(figures: Sequence[Figures]) -> list[str]:
    tables = []
    for name, runs in report.by_strategy(figures).items():
        reports = [run["per_label"] for run in runs if run["per_label"] is not None]
        if not reports:
            continue
        means = {
            label: [sum(each[label][figure] for each in reports) / len(reports) for figure in report.PER_LABEL]
            for label in reports[0]
        }
        worst = sorted(means, key=lambda label: means[label][2])[:WORST]
        head = "".join(f"<th>{title}</th>" for title in ("label", *report.PER_LABEL))
        lines = "".join(
            f"<tr><td>{escape(label)}</td>"
            + "".join(f"<td>{report.share(value)}</td>" for value in means[label][:3])
            + f"<td>{means[label][3]:.0f}</td></tr>"
            for label in worst
        )
        tables.append(
            f'<details><summary>{escape(name)}</summary><div class="wide"><table><thead><tr>{head}</tr></thead>'
            f"<tbody>{lines}</tbody></table></div></details>"
        )
    return tables
