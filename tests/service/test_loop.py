"""The loop, over the in-process log: every event has one outcome, is predicted before it is learned, and nothing that a
record or a model does ends the loop."""

import gc
import json
import urllib.error
import urllib.request

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamlearn.config.settings import check
from streamlearn.core.errors import StreamlearnError
from streamlearn.observability import web
from streamlearn.service.assembly import assemble
from streamlearn.service.loop import GARBAGE, Limits
from streamlearn.serving.crash_isolation import CRASHES_IN_A_ROW
from streamlearn.serving.predictor import Answer
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Message


class World:
    """A log with the three topics, and a service on it whose clock stands still until it is moved."""

    def __init__(self, model, *, partitions=2, log=None, **sections):
        self.now = 1_700_000_000.0
        self.log = log or MemoryLog(clock=lambda: int(self.now * 1000))
        self.settings = check(
            {
                "name": "test",
                "kafka": {"topics": {"events": "events"}},
                "model": {"name": str(model), "device": "cpu"},
                "task": sections.pop("task", "sequence-classification"),
                "learner": {"batch_size": 4, "replay_size": 4, **sections.pop("learner", {})},
                "serving": {"max_batch": 8, **sections.pop("serving", {})},
                "metrics": {"window": 50, **sections.pop("metrics", {})},
                "probes": sections.pop("probes", {"share": 0}),
                **sections,
            }
        )
        topics = self.settings.root.kafka.topics
        if log is None:
            for topic in (topics.events, topics.predictions, topics.dead_letters):
                self.log.create(topic, partitions)
            self.log.create(topics.journal, 1)
        group = self.settings.root.kafka.group_id
        self.source = MemorySource(self.log, [topics.events], group=group)
        self.service = assemble(self.settings, self.source, MemoryOutlet(self.log, group=group), clock=lambda: self.now)

    def produce(self, *events):
        values = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
        self.log.append("events", [Message(value, str(i).encode()) for i, value in enumerate(values)])

    def drain(self, **limits):
        self.service.run(Limits(**({"until_idle": 0} | limits)))

    def predictions(self):
        return [orjson.loads(record.value) for record in self.log.records("test.predictions")]

    def dead_letters(self):
        return [dict(record.headers)["streamlearn.reason"].decode() for record in self.log.records("test.dead-letters")]


def labelled(n, start=0, classes=2):
    return [{"id": f"e{i}", "text": f"w{i % classes} w9", "label": f"c{i % classes}"} for i in range(start, start + n)]


def test_every_record_has_one_outcome(tiny):
    world = World(tiny)
    world.produce(*labelled(20), b"{", b"\xff\xfe", {"id": "x"}, {"id": "y", "text": "w1", "label": True}, [1])
    world.drain()
    assert sorted(p["id"] for p in world.predictions()) == sorted(f"e{i}" for i in range(20))
    assert sorted(world.dead_letters()) == ["encoding", "invalid-json", "label-type", "missing-input", "schema"]
    summary = world.service.summary()
    assert (summary["events"], summary["predictions"]) == (25, 20)
    assert summary["labels"] == {"learned": 20}
    assert summary["this_run"]["samples_learned"]["new"] == 20
    json.dumps(summary, allow_nan=False)


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


def test_stopping_learns_no_partial_batch_and_loses_none(tiny):
    world = World(tiny)
    world.produce(*labelled(6))
    world.service.turn()
    world.service.stop.set()
    world.drain()
    assert len(world.service.learner.waiting) == 2
    assert len(world.predictions()) == 6


def test_the_garbage_collector_is_spared_for_the_run_alone(tiny):
    world = World(tiny)
    world.produce({"text": "hello"})
    before, seen = gc.get_threshold(), []
    world.service.run(Limits(until_idle=0), lambda _: seen.append((gc.get_threshold()[0], gc.get_freeze_count() > 0)))
    assert set(seen) == {(GARBAGE, True)}
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before, 0)


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
    assert world.service.summary()["known_labels"] == 2


def test_labels_are_bounded(tiny):
    world = World(tiny, limits={"labels": 3})
    world.produce(*labelled(10, classes=5))
    world.drain()
    assert world.dead_letters() == ["unknown-label"] * 4
    assert world.service.summary()["known_labels"] == 3


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
    summary = world.service.summary()
    assert summary["learner_step"] == 2
    assert summary["labels"] == {"learned": 8, "held_back": 24}


def test_warns_of_text_that_the_tokenizer_does_not_know(tiny, caplog):
    world = World(tiny)
    world.produce(*({"id": str(i), "text": "w1 " + "我 想 退 款 " * 5} for i in range(16)))
    world.drain()
    assert caplog.text.count("are unknown to the tokenizer") == 1
    assert "multilingual" in caplog.text


def test_warns_once_of_events_without_ids(tiny, caplog):
    world = World(tiny)
    world.produce(*({"text": "w1"} for _ in range(20)))
    world.drain()
    assert caplog.text.count("events without an id") == 1
    assert world.predictions()[0]["id"].startswith("events:")


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
        world.service.ready = True
        assert get(f"{address}/readyz")[0] == 200
        world.service.turned_at -= 1000
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
