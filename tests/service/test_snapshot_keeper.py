"""Snapshots are written when it is time, count once the journal names them, are bounded, and nothing that the storage
refuses stops the learner."""

import shutil

import pytest

from streamlearn.commands.inspect import found_in
from streamlearn.durability import journal
from streamlearn.durability.snapshots import SnapshotError, Snapshots
from streamlearn.service.snapshot_keeper import SnapshotKeeper
from tests.past import dying, event, forget, send

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def purging(make, tmp_path):
    """A learner that started, and deletes the snapshots that hold what is to be forgotten."""
    past = make(snapshots={"path": str(tmp_path / "state"), "purge_on_forget": True})
    past.start()
    return past


def test_snapshots_are_bounded_and_counted(past):
    past.start()
    for _ in range(5):
        past.produce(4)
        past.drain()
        assert past.save()
    assert past.service.keeper.outcomes == {"written": 5}
    named = [record.name for record in past.records(journal.Snapshot)]
    assert Snapshots(str(past.folder)).names() == named[-2:]
    past.start()
    past.produce(4)
    past.drain()
    past.save()
    named = [record.name for record in past.records(journal.Snapshot)]
    assert Snapshots(str(past.folder)).names() == named[-2:]


def test_what_is_not_named_is_no_snapshot(past):
    past.produce(30)
    past.start()
    past.service.turn()
    with dying("snapshot-written"):
        past.save()
    assert len(Snapshots(str(past.folder)).names()) == 1
    past.start()
    past.drain()
    assert past.recovery.found.named == []
    past.save()
    assert Snapshots(str(past.folder)).names() == [record.name for record in past.records(journal.Snapshot)]


def test_a_full_disk_stops_nothing(past, caplog, monkeypatch):
    past.produce(20)
    past.start(every_seconds=1)
    past.folder.parent.mkdir(exist_ok=True)
    shutil.rmtree(past.folder, ignore_errors=True)
    past.folder.write_text("a file is in its way")
    for _ in range(3):
        past.now += 2
        past.service.turn()
    assert past.service.keeper.outcomes["failed"] >= 2
    assert "no snapshot was written, and the learner goes on" in caplog.text
    past.folder.unlink()
    past.now += 2
    past.service.turn()
    assert past.service.keeper.outcomes["written"] == 1


def test_the_horizon_is_told_before_retention_takes_what_is_needed(past, caplog):
    past.produce(4)
    service = past.start()
    keeper = SnapshotKeeper(
        service.keeper.snapshots,
        past.open_journal,
        service.state,
        service.publisher,
        service.stages,
        every_seconds=10,
        made_by={},
        retention={"events": 100.0},
        timer=service.timer,
    )
    service.keep(keeper)
    assert keeper.horizon(past.now) == 100
    service.turn()
    past.now += 5
    assert keeper.horizon(past.now) == 95
    shutil.rmtree(past.folder, ignore_errors=True)
    past.folder.write_text("a file is in its way")
    past.now += 80
    service.turn()
    assert keeper.horizon(past.now) == 15
    assert "records that a restart needs are deleted in 15 s" in caplog.text
    past.folder.unlink()
    past.now += 10
    service.turn()
    assert keeper.horizon(past.now) == 100


@pytest.mark.parametrize("dies", [None, "learned", "snapshot-written", "snapshot-named"])
def test_older_snapshots_are_deleted_at_once_where_that_is_set(purging, dies):
    past = purging
    for n in range(2):
        send(past, event(f"e{n}", "x"))
        past.drain()
        past.save()
    assert len(past.service.keeper.snapshots.names()) == 2
    send(past, forget("e0"))
    if dies is None:
        past.drain()
    else:
        with dying(dies):
            past.drain()
        past.start()
        past.service.turn()
    (name,) = past.service.keeper.snapshots.names()
    assert found_in(past.service.keeper.snapshots.load(name), "e0") == []
    assert not past.service.lifecycle.purging
    send(past, event("e2", "x"))
    past.drain()
    past.save()
    assert len(past.service.keeper.snapshots.names()) == 2
    past.start()
    assert not past.service.lifecycle.purging


def test_a_purge_that_failed_is_tried_again_though_nothing_comes(purging):
    past = purging
    send(past, event("e0", "x"))
    past.drain()
    past.save()
    snapshots = past.service.keeper.snapshots
    delete, tries = snapshots.delete, []

    def refused(name):
        tries.append(name)
        if len(tries) == 1:
            raise SnapshotError("no", where="there", mend="later")
        delete(name)

    snapshots.delete = refused
    send(past, forget("e0"))
    past.drain()
    assert past.service.lifecycle.purging
    for _ in range(3):
        past.now += 60
        past.service.turn()
    assert not past.service.lifecycle.purging
    assert len(snapshots.names()) == 1


def test_where_deleting_is_refused_one_snapshot_is_written_and_not_one_every_ten_seconds(purging):
    """As a bucket without the right to delete: what is retried is the deletion, though the stream flows."""
    past = purging
    send(past, event("e0", "x"))
    past.drain()
    past.save()
    keeper, tries = past.service.keeper, []
    delete = keeper.snapshots.delete

    def refused(name):
        tries.append(name)
        raise SnapshotError("no", where="there", mend="later")

    keeper.snapshots.delete = refused
    send(past, forget("e0"))
    past.drain()
    for n in range(10):
        past.now += 11
        send(past, event(f"f{n}", "x"))
        past.drain()
    assert keeper.outcomes == {"written": 2}
    assert len(tries) == 11
    assert past.service.lifecycle.purging

    send(past, forget("f3"), event("g", "x"))  # this one stands in the newest snapshot: another is needed
    past.now += 11
    past.drain()
    assert keeper.outcomes == {"written": 3}
    keeper.snapshots.delete = delete
    past.now += 11
    past.service.turn()
    (name,) = keeper.snapshots.names()
    assert found_in(keeper.snapshots.load(name), "e0") == found_in(keeper.snapshots.load(name), "f3") == []
    assert not past.service.lifecycle.purging


def test_a_clock_that_is_set_back_puts_no_snapshot_off(past):
    past.start(every_seconds=60)
    past.produce(4)
    past.drain()
    past.put_clock_back(3600)
    past.now += 61
    past.service.turn()
    assert past.service.keeper.outcomes == {"written": 1}


def test_a_learner_that_dies_early_and_often_puts_no_snapshot_off(past):
    past.start(every_seconds=60)
    past.produce(4)
    past.drain()
    past.save()
    for _ in range(3):
        past.now += 25
        past.start(every_seconds=60)
        past.produce(1)
        past.drain()
    assert past.service.keeper.outcomes == {"written": 1}
