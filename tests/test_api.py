"""What extensions import is there, under names that stay, and the guides import nothing else of ours."""

import re
from pathlib import Path

import pytest

from streamlearn import api

GUIDES = sorted((Path(__file__).parent.parent / "docs").glob("*.md"))
# A name that goes, or comes to mean something else, breaks what users wrote: a line in CHANGELOG.md.
FAMILIES = {
    "strategies": "Strategy",
    "penalties": "Penalty",
    "policies": "Policy",
    "retrievals": "Retrieval",
    "detectors": "Detector",
    "tasks": "Task",
}
GIVEN = ("Rehearsing", "Exported", "Output")  # what a strategy is handed, and what it returns


def test_every_name_is_there_once():
    assert [getattr(api, name) for name in api.__all__]
    assert len(set(api.__all__)) == len(api.__all__)
    assert {*FAMILIES, *FAMILIES.values(), "Source", "Outlet", *GIVEN} <= set(api.__all__)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_registry_holds_what_its_base_asks_for(family):
    base, registry = getattr(api, FAMILIES[family]), getattr(api, family)
    asked = {name for name, value in vars(base).items() if callable(value) and not name.startswith("_")}
    assert asked
    for name in registry:
        assert asked <= set(dir(registry.cls(name))), name


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_a_guide_imports_from_here_alone(guide):
    found = re.findall(r"^\s*(?:from|import) (streamlearn[\w.]*)", guide.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(found) <= {"streamlearn.api"}
