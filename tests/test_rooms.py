"""The house: which rooms there are, and who may import whom. Imports go down, never up and never sideways.

The rule stands here, and ARCHITECTURE.md has a picture of what comes of it. What starts fast or reads weights stays so.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ROOT / "streamlearn"
BELOW = {  # each room, and the rooms that it may import
    "core": "",
    "scenarios": "",
    "stream": "core",
    "model": "core",
    "evaluation": "core",
    "durability": "stream core",
    "learning": "model core",
    "serving": "learning durability stream model core",
    "config": "serving learning evaluation model stream core",
    "service": "config serving learning durability evaluation model stream core",
    "observability": "service stream core",
    "commands": "observability service config serving learning durability evaluation model stream scenarios core",
    "api": "learning evaluation model stream core",
}
ROOMS = {name: set(names.split()) for name, names in BELOW.items()}
TOP = {"__init__", "__main__", "api"}  # modules of ours that lie in no room
POSIX = {"fcntl", "grp", "pwd", "resource", "termios"}  # what Python does not have on Windows
LONG = {"stream.memory_log"}  # one subject: the log, and what reads and writes it
LINES = 400


def module(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


MODULES = {module(path): path for path in sorted(HOUSE.rglob("*.py")) if "deploy" not in path.relative_to(HOUSE).parts}


def room(name):
    return name.partition(".")[0]


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


def arrows():
    """Each room, and the rooms that it imports."""
    found = {name: set() for name in ROOMS}
    for name in MODULES:
        if room(name) in found:
            found[room(name)] |= {room(other) for other in ours(name)} - {room(name), "__init__"}
    return found


def reduced():
    """The arrows that say all: from each room to those that it imports, but for what these import, straight or not."""
    found = arrows()

    def below(name):
        return found[name].union(*map(below, found[name]))

    return {
        name: {each for each in own if not any(each in below(other) for other in own)} for name, own in found.items()
    }


def test_the_picture_in_the_drawing_is_what_the_imports_are():
    drawing = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    picture = drawing.partition("```mermaid\n")[2].partition("```")[0]
    drawn = [line.strip() for line in picture.splitlines()[1:]]
    built = [f"{name} --> {' & '.join(sorted(below))}" for name, below in reversed(reduced().items()) if below]
    assert drawn == built


def test_the_tree_has_these_rooms_and_no_others():
    folders = {path.name for path in HOUSE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == {*ROOMS, "deploy"} - {"api"}
    assert {name for name in MODULES if "." not in name and name not in ROOMS} <= TOP


def test_rooms_lie_above_the_ones_that_they_import():
    above = []
    for name, below in ROOMS.items():
        assert below <= set(above), f"{name} stands before a room that it may import"
        above.append(name)


@pytest.mark.parametrize("name", MODULES)
def test_a_module_imports_its_own_room_and_those_below(name):
    allowed = ROOMS.get(room(name), {"commands"}) | {room(name), "__init__"}
    sideways = [f"{name} imports {other}" for other in sorted(ours(name)) if room(other) not in allowed]
    assert sideways == []


def test_nobody_of_ours_imports_what_extensions_import():
    assert [name for name in MODULES if "api" in ours(name)] == []


def test_no_two_modules_import_each_other():
    left = {name: ours(name) - {name} for name in MODULES}
    while ready := {name for name, needs in left.items() if not needs & set(left)}:
        left = {name: needs for name, needs in left.items() if name not in ready}
    inside = {name: sorted(needs & set(left)) for name, needs in left.items()}
    assert inside == {}


@pytest.mark.parametrize("name", sorted(set(MODULES) - LONG))
def test_a_file_can_be_read_in_one_sitting(name):
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= LINES


@pytest.mark.parametrize(
    "name", ["stream.events", "commands.produce", "commands.tail", "commands.cli", "commands.doctor"]
)
def test_it_starts_without_torch(name):
    code = f"import sys, streamlearn.{name}; sys.exit(bool({{'torch', 'transformers'}} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)


LIGHTLY = """
import sys
from streamlearn.commands.cli import main

try:
    main()
finally:
    loaded = {"torch", "transformers"} & set(sys.modules)
    assert not loaded, f"loads {loaded}"
"""
CONFIG = """\
name: light
kafka: {bootstrap_servers: embedded, topics: {events: events}}
model: {name: "package:tiny"}
task: sequence-classification
strategy: {name: dual, ridge: 3}
penalties: [ewc]
learner: {replay_size: 3}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny):
    from tests.past import Past  # noqa: PLC0415 - with torch, for the one fixture that makes a snapshot

    place = tmp_path_factory.mktemp("light")
    (place / "light.yaml").write_text(CONFIG)
    (place / "wrong.yaml").write_text(CONFIG + "drift: {label: adwin}\nmemory: {policy: {name: ring, x: 1}}\n")
    Past(tiny, place / "state", probes={"share": 0}).lives(1, 20)
    return place


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("config show light.yaml", 0, "ridge: 3.0"),
        ("config show light.yaml", 0, "# threads: "),
        ("config check light.yaml", 0, "in order"),
        ("config check wrong.yaml", 2, "memory.policy.x"),
        ("config check wrong.yaml", 2, "drift.label"),
        ("config schema", 0, "shrinkage"),
        ("inspect state --json", 0, "weights_sha256"),
        ("inspect state --id e1", 0, "found_in"),
        ("inspect nowhere", 2, "there is no snapshot"),
        ("doctor wrong.yaml", 2, "memory.policy.x"),
        ("produce --help", 0, "Usage"),  # what it imports, and `tail`, is asked above: it needs a broker
        ("tail --help", 0, "Usage"),
        ("dashboards export made", 0, "made"),
    ],
)
def test_a_light_command_runs_without_torch(place, command, code, said):
    done = subprocess.run(
        [sys.executable, "-c", LIGHTLY, *command.split()],
        cwd=place, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, said in done.stdout + done.stderr) == (code, True), done.stdout + done.stderr


@pytest.mark.parametrize("name", MODULES)
def test_it_imports_nothing_that_windows_lacks(name):
    assert imported(name) & POSIX == set()


@pytest.mark.parametrize("name", MODULES)
def test_nothing_is_unpickled(name):
    assert {each.partition(".")[0] for each in imported(name)} & {"pickle", "dill", "joblib", "shelve"} == set()
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in {("torch", "load"), ("torch", "save")}
    assert not {"torch.load", "torch.save"} & imported(name)
