"""A service that is written down and read back goes on as if nothing had happened, bit for bit."""

import pytest

from streamlearn.core.errors import ConfigError
from streamlearn.durability.snapshots import Snapshots
from streamlearn.observability.summary import summary
from tests.world import World, labelled

WINDOWS = {"reference": 60, "window": 40, "every": 10}
SECTIONS = {
    "probes": {"share": 0.3},
    "memory": {"capacity": 20},
    "drift": {"embedding": {"name": "mmd", **WINDOWS}, "label": {"name": "js", **WINDOWS}},
}


def stream():
    """New classes on the way, so that the head grows, and an event without a label now and then."""
    events = labelled(60, 0, 2) + labelled(80, 60, 5) + labelled(101, 140, 20)
    return [event if i % 7 else {**event, "label": None} for i, event in enumerate(events)]


def after(world):
    """Everything that there is to see of a service, but the time that it took."""
    told = summary(world.service)
    gone = ("seconds", "stage_seconds", "this_run")
    measures = world.service.measures
    return (
        {key: value for key, value in told.items() if key not in gone},
        measures.monitor.readings(),
        measures.probes.class_forgetting(),
        measures.prequential.calibration_error,
        world.service.learner.memory.counts(),
        [sample.id for sample in world.service.learner.waiting],
    )


REHEARSAL = {
    "strategy": "derpp",
    "penalties": [{"name": "lwf", "every": 3}, {"name": "ewc", "every": 2}],
    "memory": {"capacity": 20, "policy": "loss-aware", "retrieval": "class-balanced-others"},
}


@pytest.mark.parametrize(
    ("turns", "optimizer", "more"), [(0, "adamw", {}), (9, "sgd", {}), (20, "adamw", {}), (9, "adamw", REHEARSAL)]
)
def test_a_service_goes_on_from_its_snapshot(tiny, tmp_path, turns, optimizer, more):
    sections = {**SECTIONS, **more, "learner": {"optimizer": optimizer, "dropout": 0.1}}
    whole = World(tiny, partitions=1, **sections)
    whole.produce(*stream())
    for _ in range(turns):
        whole.service.turn()
    store = Snapshots(str(tmp_path / "snapshots"))
    digest = store.write("snapshot-00000000-000000000000", whole.service.state.state_dict(), made_by={})
    positions = whole.service.source.positions()

    again = World(tiny, partitions=1, log=whole.log, **sections)
    again.service.state.load_state_dict(store.load("snapshot-00000000-000000000000", digest).state)
    again.source.seek(positions)
    before = len(whole.predictions())
    turns_left = 40
    for _ in range(turns_left):
        whole.service.turn()
    undisturbed = [(p["id"], p["top"]) for p in whole.predictions()[before:]]
    restored_from = len(whole.predictions())
    for _ in range(turns_left):
        again.service.turn()
    restored = [(p["id"], p["top"]) for p in whole.predictions()[restored_from:]]
    assert restored == undisturbed
    assert after(again) == after(whole)
    assert whole.service.totals.events == len(stream())


@pytest.mark.parametrize("learner", [{"freeze": "encoder"}, {"train_embeddings": True}])
def test_a_snapshot_of_which_another_part_was_trained_is_refused(tiny, learner):
    state = World(tiny, strategy="er").service.state.state_dict()
    with pytest.raises(ConfigError, match="another part"):
        World(tiny, strategy="er", learner=learner).service.state.load_state_dict(state)


@pytest.mark.parametrize("strategy", ["er", "dual"])
def test_a_held_champion_is_what_is_served_told_and_written_down(tiny, tmp_path, strategy):
    """Predictions, journal and summary tell its step, and it answers events and probes, before a restart and after."""
    sections = {**SECTIONS, "strategy": strategy}
    whole = World(tiny, partitions=1, **sections)
    whole.produce(*stream())
    for _ in range(6):
        whole.service.turn()
    whole.service.measures.served.champion.hold()
    held, learned = whole.service.learner.step, len(whole.predictions())
    for _ in range(6):
        whole.service.turn()
    later = whole.predictions()[learned:]
    assert {each["champion_step"] for each in later} == {held}
    assert later[-1]["model_step"] > held
    told = summary(whole.service)
    assert (told["champion_step"], told["learner_step"]) == (held, whole.service.learner.step)

    store = Snapshots(str(tmp_path / "snapshots"))
    digest = store.write("snapshot-00000000-000000000000", whole.service.state.state_dict(), made_by={})
    again = World(tiny, partitions=1, log=whole.log, **sections)
    again.service.state.load_state_dict(store.load("snapshot-00000000-000000000000", digest).state)
    again.source.seek(whole.service.source.positions())
    assert again.service.champion_step == held
    before = len(whole.predictions())
    for _ in range(8):
        whole.service.turn()
    restored_from = len(whole.predictions())
    for _ in range(8):
        again.service.turn()
    one, other = whole.predictions()[before:restored_from], whole.predictions()[restored_from:]
    assert [(each["top"], each["novelty"], each["champion_step"]) for each in one] == [
        (each["top"], each["novelty"], each["champion_step"]) for each in other
    ]
    assert after(again) == after(whole)
    for world in (whole, again):
        world.service.measures.served.champion.follow()
        assert "champion" not in world.service.state.state_dict()
        assert world.service.champion_step == world.service.learner.step
