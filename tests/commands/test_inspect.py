"""What is in a snapshot is told as the contract has it, and where an id stands."""

import json

import pytest

from streamlearn.commands.inspect import describe, find, inspect, older
from streamlearn.core.errors import ConfigError
from streamlearn.model.tasks.family import tasks
from streamlearn.observability.summary import summary
from tests.number_task import NumberTask
from tests.past import Past, event, send

pytestmark = pytest.mark.usefixtures("one_thread")

FIELDS = {"step", "journal_seq", "weights_sha256", "labels", "memory", "offsets", "pending", "made_by"}


def load(path):
    snapshots, name = find(str(path))
    return snapshots.look(name)


def test_a_folder_stands_for_its_newest_snapshot(tiny, tmp_path, capsys):
    past = Past(tiny, tmp_path / "state", probes={"share": 0})
    past.lives(2, 20)
    inspect(str(past.folder), sample_id=None, json_output=True)
    found = json.loads(capsys.readouterr().out)
    told = summary(past.service)
    assert set(found) >= FIELDS
    assert (found["step"], found["weights_sha256"]) == (told["learner_step"], told["weights_sha256"])
    assert sum(found["memory"]["by_label"].values()) == found["memory"]["samples"] == 12
    assert sum(found["offsets"].values()) == 40
    first, last = past.service.keeper.snapshots.names()
    assert found["name"] == last
    assert describe(load(f"{past.folder}/{first}"))["step"] < found["step"]


@pytest.mark.parametrize("strategy", ["dual", "ncm"])
def test_the_digest_of_what_is_looked_at_is_that_of_the_learner(tiny, tmp_path, strategy):
    past = Past(tiny, tmp_path / "state", probes={"share": 0}, strategy=strategy)
    past.lives(1, 20)
    assert describe(load(str(past.folder)))["weights_sha256"] == summary(past.service)["weights_sha256"]


def test_a_folder_without_a_snapshot_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="there is no snapshot"):
        inspect(str(tmp_path), sample_id=None, json_output=False)


def test_a_task_without_labels_is_told_by_the_numbers_of_its_groups(tiny, tmp_path, capsys):
    with tasks.registered("number", NumberTask):
        past = Past(tiny, tmp_path / "state", labels=True, probes={"share": 0}, task="number", strategy="er")
        past.start()
        send(past, *(event(f"e{n}", float(n % 3 - 1)) for n in range(9)))
        past.drain()
        assert past.save()
    inspect(str(past.folder), sample_id=None, json_output=True)
    found = json.loads(capsys.readouterr().out)
    assert set(found) >= FIELDS - {"labels"}
    assert "labels" not in found
    assert found["memory"] == {"samples": 8, "seen": 8, "by_group": {"0": 3, "1": 5}}
    assert found["weights_sha256"] == summary(past.service)["weights_sha256"]


def test_older_snapshots_that_hold_an_id_are_named_with_when_they_go(tiny, tmp_path, capsys):
    past = Past(tiny, tmp_path / "state", labels=True, probes={"share": 0})
    past.keep = 3
    past.start()
    past.service.keeper.made_by = {"snapshots": {"keep": 3, "every_seconds": 60}}
    for n, step in enumerate([event("a", "x"), event("b", "x"), ("labels", "a", None)]):
        send(past, step)
        past.drain()
        past.now = 1_700_000_000.0 + 60 * n
        assert past.save()
    snapshots, newest = past.service.keeper.snapshots, load(past.folder)
    found = older(snapshots, newest, "a")
    assert [each["goes_after_snapshots"] for each in found] == [1, 2]
    assert all("joiner" in each["found_in"] for each in found)
    assert [each["goes_at"] for each in found] == ["2023-11-14T22:16:20+00:00", "2023-11-14T22:17:20+00:00"]
    assert describe(newest, "a")["found_in"] == []
    assert older(snapshots, newest, "nobody") == []
    middle = load(past.folder / found[1]["name"])
    assert [each["name"] for each in older(snapshots, middle, "a")] == [found[0]["name"]]
    inspect(str(past.folder), sample_id="a", json_output=False)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["name", "id", "found_in", "older_snapshots"]
