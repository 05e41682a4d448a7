"""Every query that `deploy/` holds, ready for a Prometheus: of panels, variables, annotations, rules and alerts.

An alert is silent when all is well, so that it answers with nothing. What shows that it can fire is that its operands
answer: `lag > 1000 and rate > 0` gives `lag` and `rate` besides the whole.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).parent.parent.parent / "deploy"
DASHBOARDS = tuple(sorted((DEPLOY / "grafana").glob("*.json")))
RULES = DEPLOY / "prometheus" / "streamlearn.rules.yml"

VALUES: Mapping[str, str] = {
    "__rate_interval": "1m",
    "__interval": "15s",
    "__range": "15m",
    "job": ".*",
    "instance": ".*",
    "label": ".*",
    "detector": ".*",
    "signal": ".*",
}

WORD = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
OPERATORS = ("and", "or", "unless")
COMPARISONS = (">=", "<=", "==", "!=", ">", "<")
MATCHING = re.compile(r"^\s*(?:bool\b|(?:on|ignoring|group_left|group_right)\s*(?:\([^()]*\))?)\s*")
OPENING, CLOSING = "([{", ")]}"


class Query(NamedTuple):
    """A query, and where it stands: such as `learning / Forgetting / A`, or `alert StreamlearnDown / operand 1`."""

    where: str
    promql: str


def queries(values: Mapping[str, str] = VALUES) -> list[Query]:
    """Return every query, with Grafana's variables replaced by `values`.

    A variable `label_values(selector, label)` is given as `count by (label) (selector)`. An alert comes once whole
    (`alert NAME`), and once for each operand that is no number (`alert NAME / operand N`).

    Raises:
        KeyError: a query has a variable that `values` lacks.
    """
    return [Query(where, substituted(promql, values)) for where, promql in [*_of_dashboards(), *_of_rules()]]


def substituted(promql: str, values: Mapping[str, str]) -> str:
    """Replace `$name` and `${name}`."""
    return re.sub(r"\$(?:(\w+)|\{(\w+)\})", lambda match: values[match[1] or match[2]], promql)


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield every panel that is no row, also those inside a row that is folded."""
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            yield from panels(panel)
        else:
            yield panel


def _of_dashboards() -> Iterator[tuple[str, str]]:
    for path in DASHBOARDS:
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield f"{path.stem} / {panel['title']} / {target['refId']}", target["expr"]
        for annotation in dashboard["annotations"]["list"]:
            yield f"{path.stem} / annotation {annotation['name']}", annotation["expr"]
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                found = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"])
                assert found, variable["query"]
                yield f"{path.stem} / variable {variable['name']}", f"count by ({found[2]}) ({found[1]})"


def _of_rules() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]:
        for rule in group["rules"]:
            if "record" in rule:
                yield f"record {rule['record']}", rule["expr"]
                continue
            yield f"alert {rule['alert']}", rule["expr"]
            for number, operand in enumerate(operands(rule["expr"]), 1):
                yield f"alert {rule['alert']} / operand {number}", operand


def operands(promql: str) -> list[str]:
    """Return what stands between comparisons and set operators, numbers apart; of `absent(x)` the `x`."""
    parts = _split(promql)
    if len(parts) > 1:
        return [operand for part in parts for operand in operands(part)]
    whole = promql.strip()
    inner = _enclosed(whole)
    if inner is not None:
        return operands(inner)
    name = WORD.match(whole)
    if name and name[0] == "absent" and (inner := _enclosed(whole[name.end() :].strip())) is not None:
        return operands(inner)
    return [] if re.fullmatch(r"[-+]?[\d.]+(?:e[-+]?\d+)?", whole) else [whole]


def _enclosed(text: str) -> str | None:
    """Return what one pair of parentheses around the whole text encloses."""
    if not text.startswith("("):
        return None
    depth = 0
    for at, sign in _outside_strings(text):
        depth += (sign in OPENING) - (sign in CLOSING)
        if depth == 0:
            return text[1:at] if at == len(text) - 1 else None
    return None


def _split(promql: str) -> list[str]:
    """Cut at comparisons and set operators that stand in no bracket."""
    parts, depth, start, skip = [], 0, 0, 0
    for at, sign in _outside_strings(promql):
        depth += (sign in OPENING) - (sign in CLOSING)
        if depth or at < skip:
            continue
        word = WORD.match(promql, at) if WORD.match(sign) else None
        found = word[0] if word else next((each for each in COMPARISONS if promql.startswith(each, at)), "")
        skip = at + max(len(found), 1)
        if found in (*OPERATORS, *COMPARISONS):
            parts.append(promql[start:at])
            while modifier := MATCHING.match(promql[skip:]):
                skip += modifier.end()
            start = skip
    return [*parts, promql[start:]]


def _outside_strings(text: str) -> Iterator[tuple[int, str]]:
    """Yield each character that stands in no string, with its place."""
    quote, escaped = "", False
    for at, sign in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif sign == "\\":
                escaped = True
            elif sign == quote:
                quote = ""
        elif sign in "\"'`":
            quote = sign
        else:
            yield at, sign
