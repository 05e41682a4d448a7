"""The rules: Prometheus takes them, each alert is shown firing and silent, and each says what to do."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from deploy.dashboards.queries import LABELS

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "prometheus"
GROUPS = yaml.safe_load((FOLDER / "streamlearn.rules.yml").read_text(encoding="utf-8"))["groups"]
CASES = yaml.safe_load((FOLDER / "streamlearn.rules.test.yml").read_text(encoding="utf-8"))["tests"]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = [pytest.param(rule, id=rule["alert"]) for rule in RULES if "alert" in rule]
alert = pytest.mark.parametrize("alert", ALERTS)


def promtool(*arguments):
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, cwd=FOLDER)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.tool("promtool")
def test_prometheus_takes_configuration_and_rules():
    code, said = promtool("check", "config", "prometheus.yml")
    assert code == 0, said
    assert f"{len(RULES)} rules found" in said


@pytest.mark.tool("promtool")
def test_the_cases_hold():
    code, said = promtool("test", "rules", "streamlearn.rules.test.yml")
    assert code == 0, said
    assert "SUCCESS" in said


@pytest.mark.tool("promtool")
def test_the_cases_notice_a_rule_that_never_fires(tmp_path):
    """The cases are worth something: with each threshold out of reach they fail."""
    rules = (FOLDER / "streamlearn.rules.yml").read_text(encoding="utf-8")
    (tmp_path / "streamlearn.rules.yml").write_text(re.sub(r"> [\d.]+", "> 1e9", rules))
    cases = (FOLDER / "streamlearn.rules.test.yml").read_text(encoding="utf-8")
    (tmp_path / "cases.yml").write_text(cases)
    code, said = promtool("test", "rules", tmp_path / "cases.yml")
    assert code != 0
    for rule in RULES:
        if "alert" in rule and "> " in rule["expr"]:
            assert f"alertname: {rule['alert']}," in said


@alert
def test_it_is_shown_firing_and_silent(alert):
    shown = [case for test in CASES for case in test.get("alert_rule_test", ()) if case["alertname"] == alert["alert"]]
    assert any(case["exp_alerts"] for case in shown), "no case in which it fires"
    assert any(not case["exp_alerts"] for case in shown), "no case in which it does not"


@alert
def test_it_says_how_bad_it_is_and_what_to_do(alert):
    assert alert["labels"]["severity"] in {"info", "warning", "critical"}
    notes = alert["annotations"]
    assert set(notes) == {"summary", "description", "runbook"}
    assert "$value" in notes["description"]
    assert len(notes["runbook"].split()) >= 10


def test_every_metric_is_exported_or_recorded():
    recorded = {rule["record"] for rule in RULES if "record" in rule}
    for rule in RULES:
        names = set(re.findall(r"\bstreamlearn[_:][\w:]+", rule["expr"]))
        assert names or rule["expr"].startswith("up{")
        for name in names:
            assert name in recorded or name.removeprefix("streamlearn_") in LABELS, name


def test_cases_give_series_that_the_exporter_gives():
    """A case about a metric or a label that nobody exports would prove nothing."""
    for test in CASES:
        for each in test["input_series"]:
            name, _, labels = each["series"].partition("{")
            found = set(re.findall(r"(\w+)=", labels)) - {"job", "instance"}
            if name != "up":
                assert found == set(LABELS[name.removeprefix("streamlearn_")]), each["series"]


def test_names_are_unique():
    names = [rule.get("alert") or rule["record"] for rule in RULES]
    assert len(names) == len(set(names))
