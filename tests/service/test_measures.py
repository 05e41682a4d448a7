"""What is measured beside the predictions: probes are kept out of training and answered by the served model, drift is
called on every signal, and none of it changes a prediction."""

import orjson
import pytest

from streamlearn.config.settings import check
from streamlearn.core.errors import ConfigError
from streamlearn.evaluation.drift.family import SIGNALS
from streamlearn.observability.summary import summary
from tests.world import World, labelled


def test_probes_are_labelled_events_that_are_not_learned(tiny):
    world = World(tiny, probes={"share": 0.3})
    world.produce(*labelled(400))
    world.drain()
    totals, probes = world.service.totals, world.service.measures.probes
    assert totals.labels["probe"] == len(probes) > 40
    assert totals.labels["learned"] + totals.labels["probe"] == 400
    stored = world.service.learner.memory
    assert not any(f"e{i}" in stored and f"e{i}" in probes for i in range(400))
    assert set(probes.accuracy()) == {"c0", "c1"}
    assert world.service.stages.histograms["probe"].sum > 0


def test_without_probes_every_label_is_learned(tiny):
    world = World(tiny, probes={"share": 0})
    world.produce(*labelled(40))
    world.drain()
    assert world.service.totals.labels == {"learned": 40}
    assert summary(world.service)["forgetting"] is None


def test_what_is_watched_changes_no_prediction(tiny):
    told = []
    for enabled in (True, False):
        world = World(tiny, drift={"enabled": enabled})
        world.produce(*labelled(100))
        world.drain()
        told.append([{**p, "predicted_at": 0} for p in world.predictions()])
    assert told[0] == told[1]


def test_new_words_are_drift_without_any_label(tiny):
    world = World(tiny, drift={"embedding": {"name": "mmd", "reference": 60, "window": 40, "every": 10}})
    known = [{"id": f"a{i}", "text": f"w{i % 7} w{i % 5}"} for i in range(200)]
    new = [{"id": f"b{i}", "text": f"w{100 + i % 7} w{150 + i % 5}"} for i in range(100)]
    world.produce(*known)
    world.drain()
    assert world.service.measures.monitor.detections.total() == 0
    world.produce(*new)
    found = []
    for _ in range(40):
        found += world.service.turn().detections
    assert ("mmd", "embedding") in {(each.detector, each.signal) for each in found}
    assert world.service.measures.monitor.totals()["mmd", "embedding"] >= 1


def test_every_signal_can_be_left_alone(tiny):
    world = World(tiny, drift=dict.fromkeys(SIGNALS))
    world.produce(*labelled(20))
    world.drain()
    assert world.service.measures.monitor.readings() == []


@pytest.mark.parametrize(("signal", "detector"), [("label", "adwin"), ("embedding", "ks"), ("error", "mmd")])
def test_a_detector_that_cannot_take_the_signal_is_refused_with_those_that_can(tiny, signal, detector):
    settings = {
        "name": "x",
        "kafka": {"topics": {"events": "e"}},
        "model": {"name": str(tiny)},
        "task": "sequence-classification",
        "drift": {signal: detector},
    }
    with pytest.raises(ConfigError, match=f"drift.{signal}.*choose one of"):
        check(settings)


def test_slices_have_figures_of_their_own(tiny):
    world = World(tiny)
    world.produce(*[{**event, "slices": {"region": "eu"}} for event in labelled(40)])
    world.drain()
    assert set(world.service.measures.prequential.slice_accuracy()) == {("region", "eu")}
    orjson.dumps(summary(world.service))


def test_what_was_learned_and_comes_again_is_no_probe(tiny):
    world = World(tiny, partitions=1, probes={"share": 0.3}, memory={"capacity": 500})
    world.produce(*labelled(200))
    world.drain()
    probes = len(world.service.measures.probes)
    world.produce(*labelled(200))
    world.drain()
    stored = world.service.learner.memory
    assert len(world.service.measures.probes) == probes
    assert not any(f"e{i}" in stored and f"e{i}" in world.service.measures.probes for i in range(200))
