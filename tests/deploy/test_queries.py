"""The list of queries is whole and Prometheus can read each of them: what it is used for is worth as much as it."""

import re
import subprocess

import pytest
import yaml

from deploy.dashboards.queries import LABELS
from tests.deploy.queries import DASHBOARDS, RULES, VALUES, operands, queries, substituted


@pytest.mark.parametrize(
    ("promql", "found"),
    [
        ("a > 1", ["a"]),
        ("1 < a", ["a"]),
        ("a - min_over_time(a[6h]) > 0.1", ["a - min_over_time(a[6h])"]),
        ("deriv(a[15m]) > 0\nand b > 1e3", ["deriv(a[15m])", "b"]),
        ("(a > 1) and on (x) (b == 0)", ["a", "b"]),
        ("a > bool on (job) group_left (name) b", ["a", "b"]),
        ('up{job=~"x > (y and z"} == 0', ['up{job=~"x > (y and z"}']),
        (r'up{job="a\"> b"} != 0', [r'up{job="a\"> b"}']),
        ("absent(a)", ["a"]),
        ("absent_over_time(a[5m])", ["absent_over_time(a[5m])"]),
        ("sum by (band) (land) unless nor", ["sum by (band) (land)", "nor"]),
        ("(a + b) / (c + d) > 0.05", ["(a + b) / (c + d)"]),
        ("(a) or (b)", ["a", "b"]),
        ("a{x!=\"1\", y>='2'} >= -1.5", ["a{x!=\"1\", y>='2'}"]),
        ("a:b:and > 0", ["a:b:and"]),
    ],
)
def test_an_alert_is_taken_apart_at_comparisons(promql, found):
    assert operands(promql) == found


def test_variables_are_replaced_and_an_unknown_one_is_named():
    assert substituted('a{x=~"$job"}[${__range}]', {"job": ".*", "__range": "1h"}) == 'a{x=~".*"}[1h]'
    with pytest.raises(KeyError, match="nobody"):
        substituted("a[$nobody]", VALUES)


def test_every_place_that_holds_a_query_is_listed():
    places = [query.where for query in queries()]
    written = [path.read_text(encoding="utf-8") for path in DASHBOARDS]
    listed = [place for place in places if not place.startswith(("alert ", "record "))]
    assert len(listed) == sum(text.count('"expr": ') + text.count('"query": "label_values(') for text in written)
    rules = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
    assert {place for place in places if place.startswith("record ")} == {
        f"record {rule['record']}" for rule in rules if "record" in rule
    }
    for rule in rules:
        if "alert" in rule:
            assert {f"alert {rule['alert']}", f"alert {rule['alert']} / operand 1"} <= set(places)


def test_no_place_is_listed_twice():
    places = [query.where for query in queries()]
    assert sorted({place for place in places if places.count(place) > 1}) == []


def test_nothing_is_left_to_replace():
    assert [query for query in queries() if "$" in query.promql] == []


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.where)
def test_no_query_is_constant(query):
    """A figure that no metric moves would show health where there is none."""
    assert re.search(r"\bstreamlearn[_:]\w+|\bup\{", query.promql)
    assert "vector(" not in query.promql


@pytest.mark.tool("promtool")
def test_prometheus_reads_every_query(tmp_path):
    rules = [{"record": f"query:{number}", "expr": query.promql} for number, query in enumerate(queries())]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(rules)} rules found" in done.stdout


def series():
    """One series of each metric in the catalogue, as Prometheus would have it; every counter and gauge rises."""
    known = {"outcome": "committed", "stage": "learn"}
    yield {"series": 'up{job="streamlearn", instance="a"}', "values": "1x60"}
    for name, labels in LABELS.items():
        values = {"job": "streamlearn", "instance": "a", **{label: known.get(label, "x") for label in labels}}
        for bound in ("0.1", "1", "+Inf") if name.endswith("_bucket") else ("",):
            own = {**values, "le": bound} if bound else values
            shown = ", ".join(f'{label}="{value}"' for label, value in own.items())
            yield {"series": f"streamlearn_{name}{{{shown}}}", "values": "1+3x60"}


@pytest.mark.tool("promtool")
def test_every_query_answers_where_every_metric_is_exported(tmp_path):
    """Labels that do not match, or a join that finds no partner, would give an empty panel that looks like health."""
    asked = [
        query.promql
        for query in queries({**VALUES, "__rate_interval": "5m"})
        if not query.where.startswith("alert ") or "operand" in query.where
    ]
    one = {"labels": "{}", "value": 1}
    cases = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": list(series()),
                "promql_expr_test": [
                    {"expr": f"count({promql}) > bool 0", "eval_time": "50m", "exp_samples": [one]} for promql in asked
                ],
            }
        ],
    }
    file = tmp_path / "cases.yml"
    file.write_text(yaml.safe_dump(cases))
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
