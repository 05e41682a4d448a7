"""Imports go one way: a module knows its own layer and the ones below. And what starts fast or reads weights stays so.

The layers stand here, lowest first; a name with `.*` at its end is a package with all that is in it.
"""

import ast
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [
    "__init__ errors registry rng stages payloads dead_letters fields transport transport.base events labels batch",
    (
        "totals model branch strangeness tasks tasks.* drift drift.* memory memory.* closed closed.* "
        "strategies strategies.* penalties penalties.* imprint evaluation probes probe_store cohort continual journal "
        "likely pending joiner answers"
    ),
    (
        "transport.* schemas learner label_requests predictor prediction measures journal_log checkpoint storage "
        "failpoints watchdog publisher pretrained plan files warm_file answering intake corrections erasure"
    ),
    "config settings ignored logs fingerprint",
    "service exporter state web keeper recovery warm",
    (
        "assembly run replay snapshot demo doctor produce tail scenarios generate docs dashboards dashboards.* "
        "evaluate evaluate.* cli "
        "__main__"
    ),
]


def module(path):
    parts = path.relative_to(ROOT / "streamlearn").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module(path): path for path in sorted((ROOT / "streamlearn").rglob("*.py"))}


def layer(name):
    """The layer that names the module, else the first whose pattern it fits."""
    exact = [number for number, names in enumerate(LAYERS) if name in names.split()]
    fits = [number for number, names in enumerate(LAYERS) if any(fnmatchcase(name, each) for each in names.split())]
    return (exact or fits)[0]


def running(tree):
    """Every node but those that only the type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from running(node)


def imported(name):
    """Every module, ours or not, that a module imports when it runs."""
    found = set()
    for node in running(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def ours(name):
    return {each.removeprefix("streamlearn.") for each in imported(name)} & set(MODULES)


def test_every_layer_names_what_there_is():
    names = [each for names in LAYERS for each in names.split()]
    assert [each for each in names if not any(fnmatchcase(name, each) for name in MODULES)] == []
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_layer_and_lower(name):
    upwards = [f"{name} imports {other}" for other in ours(name) if layer(other) > layer(name)]
    assert upwards == []


def test_no_two_modules_import_each_other():
    left = {name: ours(name) - {name} for name in MODULES}
    while ready := {name for name, needs in left.items() if not needs & set(left)}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    inside = {name: sorted(needs & set(left)) for name, needs in left.items()}
    assert inside == {}


@pytest.mark.parametrize("name", ["events", "produce", "tail", "cli"])
def test_it_starts_without_torch(name):
    code = f"import sys, streamlearn.{name}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


@pytest.mark.parametrize("name", MODULES)
def test_nothing_reads_or_writes_pickles(name):
    assert {each.partition(".")[0] for each in imported(name)} & {"pickle", "dill", "joblib", "shelve"} == set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
    assert not {"torch.load", "torch.save"} & imported(name)
