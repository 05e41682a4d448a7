"""The stack of `deploy/compose.yaml`: every file that it mounts is there, every program is called as it wants to be.

No engine runs here: what is checked is what can be checked without one.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
import yaml

from streamlearn.commands.cli import app
from streamlearn.config.settings import load

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
STACK = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = STACK["services"]
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
ours = pytest.mark.parametrize("name", ["topics", "learner", "generator"])
service = pytest.mark.parametrize("name", SERVICES)

KEYS = {
    *("build", "cap_drop", "command", "depends_on", "entrypoint", "environment", "healthcheck", "image", "init"),
    *("networks", "ports", "restart", "security_opt", "stop_grace_period", "volumes"),
}


def mounts(name):
    """Source and target of each volume."""
    return [each.split(":")[:2] for each in SERVICES[name].get("volumes", ())]


def on_host(name, path):
    """The file of the repository that a container sees at `path`."""
    for source, target in mounts(name):
        if source.startswith(".") and (path == target or path.startswith(f"{target}/")):
            return DEPLOY / source / path.removeprefix(target).lstrip("/")
    raise AssertionError(f"{name} sees nothing at {path}")


def test_the_file_has_no_key_that_compose_does_not_know():
    assert set(STACK) == {"name", "x-streamlearn", "services", "volumes"}
    for name, each in SERVICES.items():
        assert set(each) <= KEYS, name


@service
def test_images_are_pinned(name):
    image = SERVICES[name]["image"]
    assert re.fullmatch(r"[a-z/]+:(v?\d+\.\d+\.\d+|local)", image)
    assert image.endswith(":local") == ("build" in SERVICES[name])


@service
def test_what_is_published_is_published_on_loopback(name):
    for port in SERVICES[name].get("ports", ()):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)


@service
def test_it_starts_again_and_says_how_it_is(name):
    assert SERVICES[name]["restart"] in {"unless-stopped", "on-failure:3"}
    check = SERVICES[name].get("healthcheck")
    if "build" in SERVICES[name]:
        assert "HEALTHCHECK" in DOCKERFILE
        assert (check == {"disable": True}) == (name != "learner")
    else:
        assert check["test"][0] == "CMD"


@service
def test_it_waits_only_for_what_says_that_it_is_there(name):
    for other, how in SERVICES[name].get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "test" in SERVICES[other]["healthcheck"]
        else:
            assert how["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"].startswith("on-failure")


@service
def test_every_file_that_it_mounts_is_there(name):
    for source, _ in mounts(name):
        if source.startswith("."):
            assert (DEPLOY / source).exists()
        else:
            assert source in STACK["volumes"]


def test_every_named_volume_is_used():
    used = {source for name in SERVICES for source, _ in mounts(name)}
    assert set(STACK["volumes"]) <= used


def test_nothing_secret_stands_in_it():
    for file in DEPLOY.rglob("*"):
        if file.is_file():
            assert not re.search(r"(?i)(password|passwd|secret|token)\s*[:=]", file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize("name", ["topics", "learner"])
def test_it_calls_streamlearn_as_it_wants_to_be_called(name):
    words = SERVICES[name]["command"]
    assert '\nENTRYPOINT ["streamlearn"]\n' in DOCKERFILE
    command = typer.main.get_command(app).commands[words[0]]
    context = command.make_context(words[0], list(words[1:]))
    assert on_host(name, str(context.params["config"])) == DEPLOY / "streamlearn.yaml"


def test_the_configuration_is_in_order_and_fits_the_stack():
    root = load(DEPLOY / "streamlearn.yaml", []).root
    broker, _, port = root.kafka.bootstrap_servers.partition(":")
    listens = dict(each.split("://:") for each in SERVICES["kafka"]["environment"]["KAFKA_LISTENERS"].split(","))
    assert broker in SERVICES
    assert port == listens["INTERNAL"]
    assert f"INTERNAL://{broker}:{port}" in SERVICES["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    assert any(root.snapshots.path.startswith(target) for _, target in mounts("learner"))
    assert f"127.0.0.1:{root.metrics.port}:{root.metrics.port}" in SERVICES["learner"]["ports"]
    assert f":{root.metrics.port}/healthz" in DOCKERFILE
    assert root.metrics.host == "0.0.0.0"  # noqa: S104 - inside the containers' network


def test_the_generator_sends_to_the_topic_that_the_learner_reads():
    (line,) = SERVICES["generator"]["command"]
    makes, sends = (shlex.split(part) for part in line.split("|"))
    assert makes[:3] == ["python", "-m", "streamlearn.scenarios.generate"]
    done = subprocess.run([sys.executable, *makes[1:], "--events", "3"], capture_output=True, check=True)
    assert len(done.stdout.splitlines()) == 3
    assert sends[0] == "streamlearn"
    context = typer.main.get_command(app).commands["produce"].make_context("produce", sends[2:])
    root = load(DEPLOY / "streamlearn.yaml", []).root
    assert context.params["file"] == "-"
    assert context.params["topic"] == root.kafka.topics.events
    assert context.params["bootstrap_servers"] == root.kafka.bootstrap_servers


def test_prometheus_scrapes_the_learner_under_its_name():
    words = [word for word in SERVICES["prometheus"]["command"] if word.startswith("--config.file=")]
    config = on_host("prometheus", words[0].partition("=")[2])
    (job,) = yaml.safe_load(config.read_text(encoding="utf-8"))["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    name, _, port = target.partition(":")
    assert name in SERVICES["learner"]["networks"]["default"]["aliases"]
    assert SERVICES["learner"]["ports"][0].endswith(f":{port}")


def test_grafana_finds_prometheus_and_the_dashboards():
    folder = on_host("grafana", "/etc/grafana/provisioning")
    (source,) = yaml.safe_load((folder / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    interval = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (provider,) = yaml.safe_load((folder / "dashboards" / "streamlearn.yaml").read_text())["providers"]
    assert sorted(path.name for path in on_host("grafana", provider["options"]["path"]).glob("*.json")) == [
        "drift.json",
        "learning.json",
        "operations.json",
    ]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert on_host("grafana", home).exists()


@ours
def test_it_is_built_from_the_repository(name):
    build = SERVICES[name]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert ROOT / build["dockerfile"] == DEPLOY / "Dockerfile"
    arguments = set(re.findall(r'^ARG (\w+)=""$', DOCKERFILE, re.MULTILINE))
    assert set(build["args"]) == arguments


def test_what_the_image_copies_is_there_and_let_in():
    let_in = {
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    }
    copied = [
        name for words in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE) for name in words.split()
    ]
    assert let_in == set(copied)
    for name in copied:
        assert (ROOT / name).exists()


def test_the_image_runs_as_nobody_in_particular():
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)
