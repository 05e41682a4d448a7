"""What is written is true: generated files are up to date, and the README's blocks load, compile and can be called."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import typer
import yaml
from jsonschema import Draft202012Validator

from docs.generate import files
from streamlearn.commands.cli import app
from streamlearn.config import fingerprint
from streamlearn.config.components import COMPONENTS
from streamlearn.config.schema import schema
from streamlearn.config.settings import load
from streamlearn.config.tree import Root
from streamlearn.core.registry import ComponentSpec
from streamlearn.observability.catalogue import CATALOGUE, HISTOGRAMS
from streamlearn.serving import hugging_face as pretrained
from tests.learners import build, stream

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUIDES = [*sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "deploy").rglob("*.md"))]
PAGES = [*sorted(ROOT.glob("*.md")), *GUIDES]


def blocks(language, text=README):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def calls():
    """Every call of `streamlearn` in the shell blocks and in the text of README and guides."""
    for page in (ROOT / "README.md", *GUIDES):
        text = page.read_text(encoding="utf-8")
        for block in blocks("sh", text):
            code = re.sub(r"<<'EOF'\n.*?^EOF$", "", block, flags=re.DOTALL | re.MULTILINE)
            yield from (line for line in code.splitlines() if line.startswith("streamlearn "))
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        yield from re.findall(r"`(streamlearn [a-z][^`.]*)`", prose)


@pytest.mark.parametrize("name", files())
def test_the_generated_files_are_up_to_date(name):
    assert (ROOT / name).read_bytes() == files()[name], "run `python -m docs.generate`"


def leaves(model, where=()):
    for key, info in model.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and hasattr(kind, "model_fields") and kind is not ComponentSpec:
            yield from leaves(kind, (*where, key))
        else:
            yield ".".join((*where, key))


def test_every_setting_and_every_metric_is_described():
    page = files()["docs/configuration.md"].decode()
    settings = list(leaves(Root))
    assert {"name", "strategy", "kafka.topics.events"} <= set(settings)
    rows = {row[0]: row for line in page.splitlines() if len(row := re.split(r" (?<!\\)\| ", line.strip("| "))) == 4}
    for name in settings:
        assert rows[f"`{name}`"][3].strip()
    for path, registry in COMPONENTS.items():
        for name in registry:
            place = "drift.*" if path[0] == "drift" else ".".join(path)
            assert f"## {place}: {name}\n" in page
    metrics = files()["docs/metrics.md"].decode()
    for entry in CATALOGUE:
        assert f"`streamlearn_{entry.name}{'_total' * (entry.kind == 'counter')}` | {entry.kind}" in metrics
    for entry in HISTOGRAMS:
        assert f"`streamlearn_{entry.name}` | histogram" in metrics


def test_the_first_configuration_loads_and_is_valid_by_the_schema(tmp_path):
    Draft202012Validator.check_schema(schema())
    (block,) = blocks("yaml")
    (tmp_path / "support.yaml").write_text(block)
    assert load(tmp_path / "support.yaml", environment={}).root.name == "support"
    Draft202012Validator(schema()).validate(yaml.safe_load(block))


def test_an_empty_section_is_valid_by_the_schema():
    (block,) = blocks("yaml")
    configuration = yaml.safe_load(block)
    configuration["kafka"]["client"] = None
    Draft202012Validator(schema()).validate({**configuration, "learner": None, "snapshots": None})
    assert not Draft202012Validator(schema()).is_valid({**configuration, "model": None})


def test_the_page_names_what_may_change_at_any_time():
    page = (ROOT / "docs" / "exactly-once.md").read_text(encoding="utf-8")
    listed = page.partition("These may change at any time:\n\n")[2].partition("\n\n")[0]
    free, held = set(), set()
    for line in listed.splitlines():
        names, _, but = line.partition("but for")
        free |= set(re.findall(r"`(.*?)`", names))
        held |= set(re.findall(r"`(.*?)`", but))
    for name in leaves(Root):
        said = name not in held and any(name == each or name.startswith(f"{each}.") for each in free)
        assert said == fingerprint.is_free(name), name


@pytest.mark.parametrize("pointer", [{"file": "x"}, {"env": "X"}])
@pytest.mark.parametrize("more", ["seed", "strategy", "kafka.client.sasl.password", "memory.capacity", "task.labels"])
def test_any_value_can_be_elsewhere_by_the_schema(more, pointer):
    configuration = yaml.safe_load(blocks("yaml")[0])
    section, _, key = more.partition(".")
    if more.startswith("kafka.client."):
        configuration["kafka"]["client"] = {more.removeprefix("kafka.client."): pointer}
    elif key:
        configuration[section] = {**configuration.get(section, {}), key: pointer}
    else:
        configuration[section] = pointer
    Draft202012Validator(schema()).validate(configuration)


@pytest.mark.parametrize(
    "more",
    [
        {"sead": 1},
        {"strategy": "err"},
        {"strategy": {"name": "er", "alpa": 1}},
        {"memory": {"policy": {"name": "reservoir", "x": 1}}},
        {"learner": {"batch_size": 0}},
        {"seed": {"file": "x", "env": "X"}},
        {"seed": {"path": "x"}},
    ],
)
def test_the_schema_refuses_what_loading_refuses(more):
    (block,) = blocks("yaml")
    assert not Draft202012Validator(schema()).is_valid({**yaml.safe_load(block), **more})


def test_the_python_blocks_compile():
    assert blocks("python")
    for block in blocks("python"):
        compile(block, "README.md", "exec")


@pytest.fixture(scope="session")
def exported(tmp_path_factory, tiny):
    """A folder with what the guides' blocks may read: `my-model`, which was exported."""
    folder = tmp_path_factory.mktemp("guide")
    own = build(tiny, "dual")
    own.add(stream([0, 1, 2, 3] * 4))
    pretrained.save(own.model, own.strategy, list(own.task.groups), folder / "my-model")
    return folder


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_the_blocks_of_a_guide_run(page, exported, monkeypatch):
    monkeypatch.chdir(exported)
    text = page.read_text(encoding="utf-8")
    names = {}  # a block may go on from the one before
    for block in blocks("python", text):
        exec(compile(block, str(page), "exec"), names)  # noqa: S102 - what a guide shows has to run
    for block in blocks("yaml", text):
        given = {"model": {"name": "x"}, "task": "sequence-classification", "kafka": {"topics": {"events": "e"}}}
        Draft202012Validator(schema()).validate({"name": "x", **given, **yaml.safe_load(block)})


@pytest.mark.parametrize("call", sorted(set(calls())))
def test_the_commands_that_the_pages_name_are_there(call):
    command, words = typer.main.get_command(app), shlex.split(call, comments=True)[1:]
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, call
        command = command.commands[words.pop(0)]
    context = command.make_context(command.name, words)  # parses options and arguments, and runs nothing
    assert context.command is command


def test_the_subcommands_of_dev_are_there():
    usage = subprocess.run([ROOT / "dev", "help"], capture_output=True, text=True, check=False)
    named = {line.split()[1] for block in blocks("sh") for line in block.splitlines() if line.startswith("./dev ")}
    assert named >= {"demo", "test"}
    for name in named:
        assert re.search(rf"^  {name}\b", usage.stdout + usage.stderr, re.MULTILINE), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_links_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert "://" in target or (page.parent / target).exists(), target


@pytest.mark.skipif(not shutil.which("git") or not (ROOT / ".git").exists(), reason="needs git and a checkout")
def test_no_file_names_the_host_of_a_package_registry():
    hosts = [
        ".".join(parts)
        for parts in (
            ("pypi", "org"), ("pythonhosted", "org"), ("download", "pytorch", "org"), ("npmjs", "org"),
            ("crates", "io"), ("maven", "apache", "org"), ("repo1", "maven", "org"), ("proxy", "golang", "org"),
        )
    ]  # fmt: skip
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for path in (ROOT / name for name in names.split("\0") if name):
        text = path.read_bytes().decode(errors="replace") if path.is_file() else ""
        assert [f"{path.name}: {host}" for host in hosts if host in text] == []
