"""The dashboards: the committed files are the generated ones, Grafana's own types read them, and nothing in them lies.

What they ask for is in the exporter's catalogue, what their help names exists, and an installed wheel carries them.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from itertools import combinations
from pathlib import Path

import pytest
import typer
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards.generate import MARKS, dashboards
from deploy.dashboards.queries import LABELS, metric
from streamlearn.commands.cli import app
from streamlearn.commands.dashboards import DASHBOARDS, EXPORTED, export
from streamlearn.core.errors import ConfigError
from tests.deploy.queries import panels

ROOT = Path(__file__).parent.parent.parent
FILES = {name: ROOT / "deploy" / "grafana" / f"{name}.json" for name in DASHBOARDS}
BOARDS = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
PANELS = [
    pytest.param(panel, id=f"{name} / {panel['title']}") for name, board in BOARDS.items() for panel in panels(board)
]
SCHEMA = json.loads((ROOT / "schemas" / "config.schema.json").read_text(encoding="utf-8"))
board = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
panel = pytest.mark.parametrize("panel", PANELS)


def test_the_committed_files_are_the_generated_ones():
    assert set(dashboards()) == {path.name for path in (ROOT / "deploy" / "grafana").glob("*.json")}
    for name, content in dashboards().items():
        assert (ROOT / "deploy" / "grafana" / name).read_bytes() == content, "run `python -m deploy.dashboards`"


@board
def test_grafanas_own_types_read_it_and_lose_nothing(board):
    register_default_plugins()
    known = {**board, "annotations": {"list": [_without_marks(each) for each in board["annotations"]["list"]]}}
    assert json.loads(JSONEncoder().encode(Dashboard.from_json(known))) == known


def _without_marks(annotation):
    return {key: value for key, value in annotation.items() if key not in MARKS}


@board
def test_drift_is_marked_on_it_by_name(board):
    (annotation,) = board["annotations"]["list"]
    assert annotation["enable"]
    assert {key: annotation[key] for key in MARKS} == MARKS
    for label in re.findall(r"\{\{(\w+)\}\}", "".join(MARKS.values())):
        assert label in LABELS["drift_detections_total"]
        assert f"by ({', '.join(LABELS['drift_detections_total'])})" in annotation["expr"]


@pytest.mark.parametrize("name", BOARDS)
def test_it_is_found_under_its_own_address(name):
    assert BOARDS[name]["uid"] == f"streamlearn-{name}"


@board
def test_the_boards_lead_to_each_other(board):
    (link,) = board["links"]
    assert link["type"] == "dashboards"
    assert link["includeVars"]
    assert link["keepTime"]
    assert set(link["tags"]) <= set(board["tags"])


@board
def test_panels_lie_on_the_grid_and_not_on_each_other(board):
    taken = {}
    for each in board["panels"]:
        place = each["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{each['title']} lies on {taken[x, y]}"
                taken[x, y] = each["title"]
    rows = {y for _, y in taken}
    assert rows == set(range(max(rows) + 1)), "a gap between rows"


@board
def test_ids_and_titles_are_unique(board):
    for one, other in combinations(board["panels"], 2):
        assert one["id"] != other["id"]
        assert one["title"] != other["title"]


@panel
def test_it_says_what_it_shows_and_what_to_do(panel):
    shows, _, wrong = panel["description"].partition("\n\n**When it looks wrong:** ")
    assert len(shows.split()) >= 4
    assert len(wrong.split()) >= 6
    assert panel["fieldConfig"]["defaults"]["unit"]


@panel
def test_each_of_its_queries_has_a_name_and_a_legend(panel):
    letters = [target["refId"] for target in panel["targets"]]
    assert letters == list("ABCDEF")[: len(letters)]
    for target in panel["targets"]:
        assert target["expr"]
        assert target["legendFormat"]
        assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


@panel
def test_a_legend_names_only_labels_that_its_query_has(panel):
    for target in panel["targets"]:
        names = re.findall(r"streamlearn_(\w+)\{", target["expr"])
        have = {label for name in names for label in LABELS[name]}
        kept = re.findall(r"\b(?:by|group_left) \(([^)]*)\)", target["expr"])
        assert names
        for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
            assert label in have
            assert not kept or any(label in each.replace(" ", "").split(",") for each in kept)


@panel
def test_it_shows_only_the_chosen_learner(panel):
    for target in panel["targets"]:
        for selector in re.findall(r"streamlearn_\w+\{([^}]*)\}", target["expr"]):
            assert selector.startswith('job=~"$job", instance=~"$instance"')


@board
def test_every_variable_that_is_used_is_defined(board):
    defined = {variable["name"] for variable in board["templating"]["list"]}
    used = set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(board)))
    assert {"datasource", "job", "instance"} <= defined
    assert used == defined


def settings(schema, where=()):
    """Every setting's dotted path, and every section's; components' settings too."""
    if "$ref" in schema:
        yield from settings(SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], where)
    for choice in schema.get("anyOf", []):
        yield from settings(choice, where)
    for name, inner in schema.get("properties", {}).items():
        yield ".".join((*where, name))
        yield from settings(inner, (*where, name))


def commands(group):
    for name, command in group.commands.items():
        yield name
        yield from (f"{name} {inner}" for inner in getattr(command, "commands", ()))


@panel
def test_settings_and_commands_that_it_names_exist(panel):
    known = set(settings(SCHEMA))
    calls = set(commands(typer.main.get_command(app)))
    for code in re.findall(r"`([^`]+)`", panel["description"]):
        if code.startswith("streamlearn "):
            words = code.split()[1:3]
            assert words[0] in calls
            assert getattr(typer.main.get_command(app).commands[words[0]], "commands", None) is None or (
                " ".join(words) in calls
            )
        elif re.fullmatch(r"[a-z_]+(\.[a-z_]+)+", code):
            assert code in known


@panel
def test_panels_that_it_names_exist(panel):
    titles = {each["title"] for board in BOARDS.values() for each in board["panels"]}
    titles |= {board["title"].removeprefix("streamlearn / ") for board in BOARDS.values()}
    named = re.findall(r"(?<!\*)\*([A-Z][^*]+)\*(?!\*)", panel["description"])
    assert set(named) <= titles


def test_a_metric_that_nobody_exports_cannot_be_asked_for():
    assert metric("labels_total", 'outcome="learned"').startswith("streamlearn_labels_total{")
    with pytest.raises(ValueError, match="asks for labels,"):
        metric("labels")
    with pytest.raises(ValueError, match="by reason"):
        metric("labels_total", 'reason="schema"')


def test_export_writes_what_is_committed(tmp_path):
    written = export(tmp_path / "new")
    assert {str(path.relative_to(tmp_path / "new")) for path in written} == set(EXPORTED)
    for name in EXPORTED:
        assert (tmp_path / "new" / name).read_bytes() == (ROOT / "deploy" / name).read_bytes()


def test_export_says_where_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"file/grafana/learning\.json: cannot be written"):
        export(tmp_path / "file")


def test_an_installed_wheel_carries_them(tmp_path):
    """Built from a copy, unpacked away from the checkout, and asked for its dashboards."""
    source, installed = tmp_path / "source", tmp_path / "installed"
    for name in ("streamlearn", "deploy"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = "from setuptools import build_meta; import sys; build_meta.build_wheel(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", build, tmp_path], cwd=source, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(installed)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "streamlearn", "dashboards", "export", tmp_path / "out"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "grafana" / "drift.json").read_bytes() == FILES["drift"].read_bytes()
    done = subprocess.run(
        [sys.executable, "-P", "-m", "streamlearn.scenarios.generate", "--events", "1"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(installed)},
    )  # fmt: skip
    assert done.stdout.count("\n") == 1, done.stderr
    assert (installed / "streamlearn/commands/evaluate/page.html").is_file()
