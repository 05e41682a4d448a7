"""Drawings as inline SVG: curves, a heat map and spots. Colours are the page's own, so they fit light and dark."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from streamlearn.commands.evaluate.one_pass import curve

WIDTH, HEIGHT = 720, 340
LEFT, RIGHT, TOP, BOTTOM = 50, 20, 34, 40
COLOURS = 8
Span = tuple[float, float, float]  # mean, least, greatest


class Frame(NamedTuple):
    """Where numbers stand in a drawing: the greatest number of each axis, both begin at zero."""

    right: float
    top: float

    def x(self, value: float) -> float:
        """Return the place of a number on the horizontal axis."""
        return LEFT + (WIDTH - LEFT - RIGHT) * value / self.right

    def y(self, value: float) -> float:
        """Return the place of a number on the vertical axis."""
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / self.top


def curves(outcomes: Mapping[str, Sequence[list[float]]]) -> str:
    """Draw accuracy over the stream: a line for each name, the mean over its runs, in a band from least to greatest."""
    drawn = {name: [found for run in runs if (found := curve(run))] for name, runs in outcomes.items()}
    drawn = {name: found for name, found in drawn.items() if found}
    if not drawn:
        return ""
    frame = Frame(max(found[-1][0] for runs in drawn.values() for found in runs), 1.0)
    parts = [_axes(frame, "events"), _legend(drawn)]
    for number, runs in enumerate(drawn.values()):
        grid = np.array(sorted({events for found in runs for events, _ in found}), float)
        values = np.array([_at(grid, found) for found in runs])
        whole = ~np.isnan(values).any(axis=0)
        grid, values = grid[whole], values[:, whole]
        low, high, mean = values.min(axis=0), values.max(axis=0), values.mean(axis=0)
        if len(runs) > 1:
            band = [*zip(grid, high, strict=True), *reversed([*zip(grid, low, strict=True)])]
            parts.append(f'<polygon class="band" fill="{_colour(number)}" points="{_points(frame, band)}"/>')
        line = _points(frame, zip(grid, mean, strict=True))
        parts.append(f'<polyline class="line" stroke="{_colour(number)}" points="{line}"/>')
    return _svg(WIDTH, HEIGHT, "Prequential accuracy over the stream", parts)


def heat_map(matrices: Sequence[Sequence[Sequence[float | None]]]) -> str:
    """Draw the mean of accuracy matrices of one size as cells, the darker the better, each with its per cent."""
    values = np.array([[[np.nan if cell is None else cell for cell in row] for row in each] for each in matrices])
    mean = values.mean(axis=0)
    rows, columns = mean.shape
    cell, margin = 38, 58
    parts = []
    for row in range(rows):
        parts.append(_text(margin - 8, margin + cell * row + 23, f"after {row + 1}", "end"))
        for column in range(columns):
            value = float(mean[row, column])
            if np.isnan(value):
                continue
            x, y = margin + cell * column, margin + cell * row
            shade = f"rgba(var(--heat), {0.05 + 0.6 * value:.3f})"
            parts.append(f'<rect x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}" style="fill: {shade}"/>')
            parts.append(_text(x + cell / 2 - 1, y + 23, f"{100 * value:.0f}", "middle"))
    middle = margin + cell / 2 - 1
    parts += [_text(middle + cell * each, margin - 8, str(each + 1), "middle") for each in range(columns)]
    parts.append(_text(margin, margin - 28, "asked about group", "start"))
    inside = f'<g class="heat">{"".join(parts)}</g>'
    return _svg(margin + cell * columns + 4, margin + cell * rows + 4, "Accuracy by group", [inside])


def spots(places: Mapping[str, tuple[Span, Span]]) -> str:
    """Draw a spot for each name at (events a second, accuracy), with bars from the least to the greatest."""
    frame = Frame(1.1 * max(speed[2] for speed, _ in places.values()) or 1.0, 1.0)
    parts = [_axes(frame, "events a second"), _legend(places)]
    for number, (speed, accuracy) in enumerate(places.values()):
        x, y, colour = frame.x(speed[0]), frame.y(accuracy[0]), _colour(number)
        parts += [
            _bar(colour, (frame.x(speed[1]), y), (frame.x(speed[2]), y)),
            _bar(colour, (x, frame.y(accuracy[1])), (x, frame.y(accuracy[2]))),
            f'<circle fill="{colour}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>',
        ]
    return _svg(WIDTH, HEIGHT, "Final accuracy over events a second", parts)


def _svg(width: float, height: float, title: str, parts: Iterable[str]) -> str:
    inner = "".join(parts)
    return f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(title)}">{inner}</svg>'


def _at(grid: npt.NDArray[np.float64], found: Sequence[tuple[int, float]]) -> npt.NDArray[np.float64]:
    """Return a curve's values on a grid; nan beyond its end."""
    events, values = np.array(found, float).T
    on_grid: npt.NDArray[np.float64] = np.interp(grid, events, values, right=np.nan)
    return on_grid


def _axes(frame: Frame, below: str) -> str:
    """Draw the axes: per cent upwards, and what stands below to the right."""
    parts = []
    for fifth in range(6):
        value = frame.top * fifth / 5
        y = frame.y(value)
        parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{100 * value:.0f}", "end"))
        at = frame.right * fifth / 5
        parts.append(_text(frame.x(at), HEIGHT - BOTTOM + 18, f"{at:,.0f}", "middle"))
    parts += [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, below, "middle"), _text(LEFT - 8, TOP - 14, "%", "end")]
    return "".join(parts)


def _legend(names: Iterable[str]) -> str:
    parts, x = [], LEFT + 8.0
    for number, name in enumerate(names):
        parts.append(f'<rect x="{x:.0f}" y="8" width="10" height="10" fill="{_colour(number)}"/>')
        parts.append(_text(x + 15, 17, name, "start"))
        x += 30 + 7.2 * len(name)
    return "".join(parts)


def _bar(colour: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    return f'<line stroke="{colour}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _colour(number: int) -> str:
    return f"var(--s{number % COLOURS})"


def _points(frame: Frame, points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in points)
