"""What the process is doing is told, and not guessed; and what a restart would need is known at every moment."""

import pytest

from streamlearn.durability import failpoints
from streamlearn.observability.status import status
from streamlearn.observability.web import readiness
from streamlearn.service.lifecycle import Lifecycle, Phase, Progress, Warmed
from streamlearn.service.turn import Limits
from streamlearn.service.warm_start import WarmStart
from streamlearn.stream.transport import Record, TopicPartition, ranges
from tests.past import Past

pytestmark = pytest.mark.usefixtures("one_thread")

ONE, TWO = TopicPartition("events", 0), TopicPartition("events", 1)


def record(partition, offset, timestamp):
    return Record("events", partition, offset, None, b"{}", (), timestamp)


def test_a_life_from_its_start_to_its_end():
    life = Lifecycle({})
    seen = [life.phase]
    for step in (lambda: life.recover(2), life.catch_up, life.warm_up, life.end_warm_up, life.go_live, life.end):
        step()
        seen.append(life.phase)
    assert seen == [
        Phase.STARTING,
        Phase.RECOVERING,
        Phase.STARTING,
        Phase.WARMING,
        Phase.STARTING,
        Phase.LIVE,
        Phase.STOPPING,
    ]


def test_progress_is_told_while_there_is_some():
    life = Lifecycle({})
    life.recover(7)
    life.recovered(3)
    assert (life.progress, life.warming) == (Progress(3, 7), None)
    life.catch_up()
    life.warm_up()
    assert (life.progress, life.warming) == (None, None)  # how many rows there are is not known yet
    life.learn_rows(Warmed("", 20, 50))
    assert life.warming == Progress(20, 50)
    life.end_warm_up()
    assert life.warming is None


@pytest.mark.parametrize("step", ["recover", "warm_up", "go_live"])
def test_a_signal_ends_any_phase(step):
    life = Lifecycle({})
    life.recover(1) if step == "recover" else getattr(life, step)()
    life.stop.set()
    assert life.phase is Phase.STOPPING
    assert not life.live


def test_a_restart_needs_what_no_snapshot_holds():
    life = Lifecycle({ONE: 0, TWO: 5})
    first = [record(0, 0, 111), record(0, 1, 112), record(1, 5, 113)]
    second = [record(0, 2, 114)]
    for records in (first, second):
        life.take(ranges(records), records)
    assert life.positions == {ONE: 3, TWO: 6}
    assert life.needed == {ONE: 111, TWO: 113}
    life.save()
    assert life.needed == {}
    third = [record(0, 3, 115)]
    life.take(ranges(third), third)
    assert life.needed == {ONE: 115}


def test_of_what_was_lost_the_position_moves_all_the_same():
    life = Lifecycle({ONE: 0})
    records = [record(0, 0, 111), record(1, 5, 113)]
    life.take(ranges(records), records[:1])
    assert life.positions == {ONE: 1, TWO: 6}
    assert life.needed == {ONE: 111}


def test_what_outlives_the_process():
    life, other = Lifecycle({ONE: 4}), Lifecycle({ONE: 0, TWO: 9})
    life.warmed, life.purging = Warmed("abc", 5, 5), True
    other.load_state_dict(life.state_dict())
    assert (other.warmed, other.purging, other.positions) == (life.warmed, True, {ONE: 4, TWO: 9})


class Watched(WarmStart):
    """A warm start that notes what is told of the service while the file is looked through."""

    told = ""

    def survey(self, service):
        self.told, self.ready = status(service), readiness(service)
        return super().survey(service)


def test_a_warm_start_is_no_end_while_its_file_is_looked_through(tiny, tmp_path):
    file = tmp_path / "history.jsonl"
    file.write_bytes(b'{"text": "w1", "label": "a"}\n' * 8)
    past = Past(tiny, tmp_path / "state")
    past.start()  # its start is committed
    assert status(past.service) == "starting"
    warm = Watched(str(file))
    assert warm.begin(past.service)
    assert warm.told == "warming up"
    assert not warm.ready["ok"]
    assert "warm_start_rows" not in warm.ready
    assert status(past.service) == "starting"


def test_the_snapshot_after_an_accepted_loss_is_no_end(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.produce(20)
    past.start()
    past.drain()
    for partition in (ONE, TWO):
        past.log.truncate(partition, past.log.bounds(partition)[1])
    seen = {}
    failpoints.listen(lambda name: seen.setdefault(name, status(past.service)))
    try:
        past.start(accept_loss=True)
    finally:
        failpoints.listen(None)
    assert past.recovery.lost
    assert seen["started"] == seen["reapplied"] == "recovering"
    assert seen["snapshot-written"] == "starting"


def test_a_run_is_live_and_its_last_snapshot_is_not(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.produce(20)
    service, seen = past.start(), []
    service.run(Limits(until_idle=0), lambda _: seen.append(status(service)))
    assert set(seen[:-1]) == {"live"}
    assert status(service) == "stopping"
