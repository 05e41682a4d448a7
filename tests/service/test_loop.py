"""The loop, over the in-process log: every event has one outcome, is predicted before it is learned, and nothing that a
record or a model does ends the loop."""

import json
import time
import urllib.error
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamlearn.core.errors import StreamlearnError
from streamlearn.durability import journal
from streamlearn.observability import web
from streamlearn.observability.summary import summary
from streamlearn.serving.crash_isolation import CRASHES_IN_A_ROW
from streamlearn.serving.predictor import Answer
from tests.past import Past, event, image, send
from tests.world import World, labelled


def test_every_record_has_one_outcome(tiny):
    world = World(tiny)
    world.produce(*labelled(20), b"{", b"\xff\xfe", {"id": "x"}, {"id": "y", "text": "w1", "label": True}, [1])
    world.drain()
    assert sorted(p["id"] for p in world.predictions()) == sorted(f"e{i}" for i in range(20))
    assert sorted(world.dead_letters()) == ["encoding", "invalid-json", "label-type", "missing-input", "schema"]
    told = summary(world.service)
    assert (told["events"], told["predictions"]) == (25, 20)
    assert told["labels"] == {"learned": 20}
    assert told["this_run"]["samples_learned"]["new"] == 20
    json.dumps(told, allow_nan=False)


def test_abstains_before_the_first_label_is_learned(tiny):
    world = World(tiny, partitions=1)
    world.produce(*labelled(8))
    world.service.turn()
    assert all(p["abstained"] and p["reason"] == "no-known-label" and p["label"] is None for p in world.predictions())
    world.produce({"id": "later", "text": "w1"})
    world.service.turn()
    last = world.predictions()[-1]
    assert last["label"] in {"c0", "c1"}
    assert last["model_step"] == 2
    assert last["top"][0]["label"] == last["label"]
    assert sum(entry["score"] for entry in last["top"]) == pytest.approx(1, abs=1e-5)


def test_a_label_has_no_part_in_its_own_prediction(tiny):
    """Two runs that differ only in the labels of a batch publish the same predictions for that batch."""
    published = []
    for label in ("c0", "c1"):
        world = World(tiny, partitions=1)
        world.produce(*labelled(16))
        world.drain()
        world.produce(*({"id": f"t{i}", "text": "w0 w5", "label": label} for i in range(8)))
        world.drain()
        published.append([(p["label"], p["score"]) for p in world.predictions()[-8:]])
    assert published[0] == published[1]


def test_a_partial_batch_is_learned_when_it_has_waited(tiny):
    world = World(tiny, learner={"max_wait_seconds": 5, "batch_size": 4})
    world.produce(*labelled(3))
    world.service.turn()
    assert len(world.service.learner.waiting) == 3
    world.now += 4.9
    world.service.turn()
    assert world.service.learner.step == 0
    world.now += 0.2
    assert world.service.turn().updates[0].samples == 3
    assert world.service.learner.step == 1


@pytest.mark.parametrize("flows", [False, True])
def test_a_clock_that_is_set_back_puts_no_partial_batch_off(tiny, tmp_path, flows):
    """And whoever learns it again, by the journal alone, does so at the same place."""
    past = Past(tiny, tmp_path / "state", probes={"share": 0}, learner={"max_wait_seconds": 5, "batch_size": 4})
    past.start()
    send(past, *(event(f"e{n}", f"c{n % 2}") for n in range(3)))
    past.drain()
    past.put_clock_back(3600)
    past.now += 6
    if flows:
        send(past, event("u"))
    past.service.turn()
    assert (past.service.learner.step, past.service.learner.waiting) == (1, [])
    assert len(past.records(journal.Flush)) == 1
    follower, _ = past.follower()
    assert image(follower) == image(past.service)


def test_what_has_waited_is_learned_after_a_restart_as_without_one(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state", probes={"share": 0}, learner={"max_wait_seconds": 5, "batch_size": 4})
    past.start()
    send(past, *(event(f"e{n}", f"c{n % 2}") for n in range(3)))
    past.drain()
    past.now += 4
    past.start()
    past.service.turn()
    assert len(past.service.learner.waiting) == 3
    past.now += 1.5
    past.service.turn()
    assert past.service.learner.waiting == []


def test_what_comes_next_is_read_while_predictions_are_on_their_way(tiny):
    world = World(tiny, partitions=1)
    world.produce(*labelled(20))
    outlet, commit, seen = world.service.publisher.outlet, world.service.publisher.outlet.commit, []

    def looking(positions):
        seen.append((sum(world.source.positions().values()), sum(positions.values())))
        commit(positions)

    outlet.commit = looking
    world.drain()
    taken = [each for each in seen if each[1]]
    assert taken == [(16, 8), (20, 16), (20, 20)], "what was read, and what counts as taken"
    assert [p["id"] for p in world.predictions()].count("e19") == 1


def test_the_time_of_reading_ahead_is_not_the_commits(tiny):
    world = World(tiny, partitions=1)
    world.produce(*labelled(24))
    poll = world.source.poll

    def slow(most, timeout):
        if timeout == 0:  # nobody waits for it
            time.sleep(0.1)
        return poll(most, timeout)

    world.source.poll = slow
    for _ in range(3):
        world.service.turn()
    seconds = world.service.stages.seconds()
    assert seconds["read_ahead"] >= 0.3
    assert seconds["commit"] < 0.1


def test_stopping_learns_no_partial_batch_and_loses_none(tiny):
    world = World(tiny)
    world.produce(*labelled(6))
    world.service.turn()
    world.service.lifecycle.stop.set()
    world.drain()
    assert len(world.service.learner.waiting) == 2
    assert len(world.predictions()) == 6


def test_goes_on_where_the_group_stopped(tiny):
    first = World(tiny)
    first.produce(*labelled(40))
    first.drain(max_events=16, until_idle=None)
    second = World(tiny, log=first.log)
    second.drain()
    assert sorted(p["id"] for p in second.predictions()) == sorted(f"e{i}" for i in range(40))


def test_closed_labels_refuse_others(tiny):
    world = World(tiny, task={"name": "sequence-classification", "labels": ["c0", "c1"]})
    world.produce(*labelled(8), {"id": "odd", "text": "w1", "label": "c3"})
    world.drain()
    assert world.dead_letters() == ["unknown-label"]
    assert summary(world.service)["known_labels"] == 2


def test_labels_are_bounded(tiny):
    world = World(tiny, limits={"labels": 3})
    world.produce(*labelled(10, classes=5))
    world.drain()
    assert world.dead_letters() == ["unknown-label"] * 4
    assert summary(world.service)["known_labels"] == 3


class Allergic:
    """Answers with another predictor, but fails on some texts, and so on every batch that holds one."""

    def __init__(self, predictor, cannot):
        self.predictor, self.cannot = predictor, cannot

    def predict(self, texts) -> Answer:
        if any(map(self.cannot, texts)):
            raise RuntimeError("shape '[3]' is invalid")
        return self.predictor.predict(texts)


def test_an_event_that_the_model_cannot_take_is_a_dead_letter(tiny):
    world = World(tiny)
    world.service.predictor = Allergic(world.service.predictor, lambda text: "w7" in text)
    world.produce(*labelled(12), {"id": "bad", "text": "w7"}, *labelled(12, start=12))
    world.drain()
    assert world.dead_letters() == ["crashed"]
    assert len(world.predictions()) == 24


def test_a_batch_that_fails_only_as_a_whole_is_answered_one_by_one(tiny):
    world = World(tiny, partitions=1)
    answer = world.service.predictor.predict

    class Narrow:
        def predict(self, texts) -> Answer:
            if len(texts) > 1:
                raise RuntimeError("out of memory")
            return answer(texts)

    world.service.predictor = Narrow()
    world.produce(*labelled(24))
    world.drain()
    assert not world.dead_letters()
    assert [p["id"] for p in world.predictions()] == [f"e{i}" for i in range(24)]
    assert not world.predictions()[-1]["abstained"]


def test_a_model_that_takes_nothing_stops_the_run_before_it_refuses_the_topic(tiny):
    world = World(tiny, partitions=1)
    world.service.predictor = Allergic(world.service.predictor, lambda _: True)
    world.produce(*labelled(40))
    with pytest.raises(StreamlearnError, match="events in a row"):
        world.drain()
    assert len(world.dead_letters()) < CRASHES_IN_A_ROW


def test_stops_learning_at_max_steps(tiny):
    world = World(tiny, learner={"batch_size": 4, "max_steps": 2})
    world.produce(*labelled(32))
    world.drain()
    told = summary(world.service)
    assert told["learner_step"] == 2
    assert told["labels"] == {"learned": 8, "held_back": 24}


def get(url):
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_metrics_say_what_happened(tiny):
    world = World(tiny, strategy="er", metrics={"max_labels": 2})
    world.produce(*labelled(24, classes=3), b"{")
    world.drain()
    with web.serve(world.service, "127.0.0.1", 0) as address:
        text = get(f"{address}/metrics")[1]
        assert get(f"{address}/healthz")[0] == 200
        assert get(f"{address}/readyz")[0] == 503  # the run is over
        world.service.lifecycle.go_live()
        assert get(f"{address}/readyz")[0] == 200
        world.service.lifecycle.turned_at -= 1000
        assert get(f"{address}/healthz")[0] == 503
        assert get(f"{address}/nothing")[0] == 404
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["streamlearn_events_total",] == 25
    assert samples["streamlearn_dead_letters_total", "invalid-json"] == 1
    assert samples["streamlearn_labels_total", "learned"] == 24
    assert samples["streamlearn_samples_learned_total", "replay"] == 20
    assert samples["streamlearn_learner_step",] == 6
    assert samples["streamlearn_known_labels",] == 3
    assert samples["streamlearn_memory_samples", "other"] == 8
    assert samples["streamlearn_prediction_latency_seconds_count",] == 24
    predicted = {key[1]: value for key, value in samples.items() if key[0] == "streamlearn_predictions_total"}
    assert set(predicted) <= {"c0", "c1", "other", ""}
    assert sum(predicted.values()) == 24
    assert not any("e1" in key for key in samples)


def test_stage_times_are_not_counted_twice(tiny):
    world = World(tiny)
    world.produce(*labelled(24))
    start = world.service.stages.clock()
    world.drain()
    assert sum(world.service.stages.seconds().values()) <= world.service.stages.clock() - start
