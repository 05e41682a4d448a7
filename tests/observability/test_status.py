"""The state: JSON at every moment, bounded for ever, no payload unless asked for, and cheap for the loop."""

import json
import math
import time

import orjson
import pytest

from streamlearn.model.tasks.family import tasks
from streamlearn.observability.exporter import ServiceCollector
from streamlearn.observability.history import RECENT, TEXT
from streamlearn.observability.status import DETECTIONS, Dashboard, state
from streamlearn.service.lifecycle import Lifecycle, Warmed
from tests.number_task import NumberTask
from tests.observability.fake import FakeService, Reading, row, story, turn
from tests.world import World, labelled


def test_a_sample_is_taken_once_a_second():
    service = FakeService()
    dashboard = Dashboard(service)
    for _ in range(40):
        service.now += 0.25
        service.totals.events += 5
        dashboard.observe(turn())
    assert len(dashboard.history) == 10
    assert state(service, dashboard)["now"]["events_per_second"] == 20
    assert state(service)["now"]["events_per_second"] is None
    assert state(service)["series"] is None


def test_the_rate_of_now_forgets_what_was():
    service = FakeService()
    dashboard = Dashboard(service)
    for second in range(60):
        service.now += 1
        service.totals.events += 1000 if second < 40 else 0
        dashboard.observe(turn())
    assert state(service, dashboard)["now"]["events_per_second"] == 0


@pytest.mark.parametrize("told", [False, True])
def test_it_is_json_before_and_after_the_first_event(told):
    service = FakeService(show_payloads=told)
    dashboard = Dashboard(service)
    if told:
        story(service, dashboard, 120)
    else:
        service.measures.monitor.now = [Reading("adwin", "error", math.nan, math.inf), Reading("js", "label", 0.5, 0.0)]
    shown = state(service, dashboard)
    assert json.loads(json.dumps(shown, allow_nan=False)) == orjson.loads(orjson.dumps(shown))
    assert (shown["now"]["accuracy"] is None) is not told
    if not told:
        assert [each["ratio"] for each in shown["drift"]] == [None, None]


def test_columns_have_one_length():
    service = FakeService()
    dashboard = Dashboard(service, points=50)
    story(service, dashboard, 200)
    series = state(service, dashboard)["series"]
    lengths = {len(column) for name, column in series.items() if name not in {"seconds", "drift"}}
    lengths |= {len(each["ratio"]) for each in series["drift"]}
    assert lengths == {len(series["time"])}
    assert len(series["time"]) <= 50
    assert len(series["drift"]) == 7


def test_labels_are_bounded_and_carry_their_figures():
    service = FakeService(max_labels=2)
    service.learner.task.groups.extend(["a", "b", "c"])
    service.learner.memory.by_label = {0: 5, 2: 9}
    service.measures.probes.by_label, service.measures.probes.forgotten = (
        {"a": 0.5, "c": 1.0},
        {"a": 0.25, "b": math.nan},
    )
    service.totals.predictions.update(["a", "a", None])
    assert state(service)["labels"] == [
        {"label": "a", "memory": 5, "probe_accuracy": 0.5, "forgetting": 0.25, "predictions": 2},
        {"label": "b", "memory": 0, "probe_accuracy": None, "forgetting": None, "predictions": 0},
    ]
    assert state(service)["now"]["known_labels"] == 3
    assert state(service)["now"]["abstentions"] == 1


def test_no_text_and_no_id_unless_payloads_are_shown():
    for shown in (False, True):
        service = FakeService(show_payloads=shown)
        dashboard = Dashboard(service)
        event, prediction = row("my secret text", "hidden label", "a guess")
        dashboard.observe(turn([event], [prediction]))
        text = json.dumps(state(service, dashboard))
        assert "secret-id" not in text
        assert ("my secret text" in text, "hidden label" in text, "a guess" in text) == (shown, shown, shown)
        assert (state(service, dashboard)["recent"] is None) is not shown


def test_recent_predictions_are_the_last_ones_with_what_became_of_them():
    service = FakeService(show_payloads=True)
    dashboard = Dashboard(service)
    first = [row(f"text {n}", "a", "a") for n in range(200)]
    last = [row("x" * 1000, "a", "b"), row("none", None, "a", 0.4), row("early", "a", None)]
    for rows in (first, last):
        dashboard.observe(turn(*zip(*rows, strict=True)))
    rows = state(service, dashboard)["recent"]
    assert len(rows) == RECENT
    assert [each["outcome"] for each in rows[-4:]] == ["right", "wrong", "unlabelled", "abstained"]
    assert rows[-5]["text"] == "text 198"
    assert rows[-3]["text"] == "x" * TEXT + "…"
    assert (rows[-2]["score"], rows[-1]["predicted"], rows[-1]["score"]) == (0.4, None, None)


def test_the_task_says_how_wrong_an_answer_is(tiny):
    """Numbers name no class, and few are right to the last digit; nor do they abstain, but before the first label."""
    events = [{"id": f"e{i}", "text": f"w{i % 2} w9", "label": float(1 - 2 * (i % 2))} for i in range(40)]
    events += [{"id": "unlabelled", "text": "w1 w9"}, {"id": "far", "text": "w1 w9", "label": 50}]
    with tasks.registered("number", NumberTask):
        world = World(tiny, task="number", strategy="er", web={"show_payloads": True}, learner={"batch_size": 2})
        dashboard = Dashboard(world.service)
        for at in range(0, len(events), 6):
            world.produce(*events[at : at + 6])
            while not world.service.source.at_end():
                world.now += 1
                dashboard.observe(world.service.turn())
        shown = orjson.loads(orjson.dumps(state(world.service, dashboard)))
    published = world.predictions()
    abstained = sum(each["abstained"] for each in published)
    assert 0 < abstained < 10
    assert (shown["now"]["abstentions"], shown["now"]["predictions"]) == (abstained, len(events))
    metrics = {each.name: each for each in ServiceCollector(world.service).collect()}
    counts = {each.labels["label"]: each.value for each in metrics["streamlearn_predictions"].samples}
    assert counts == {"": abstained, "other": len(events) - abstained}
    rows = {(row["text"], row["label"], row["error"]): row["outcome"] for row in shown["recent"]}
    values = {each["id"]: each["value"] for each in published}
    for event in events:
        value, label = values[event["id"]], event.get("label")
        error = None if value is None or label is None else min(1.0, abs(value - label) / 2)
        outcome = "abstained" if value is None else "unlabelled" if label is None else "partly_right"
        outcome = {0: "right", 1: "wrong"}.get(error, outcome)
        assert rows[event["text"], label, error] == outcome
    assert {"partly_right", "wrong", "unlabelled", "abstained"} <= set(rows.values())


def test_detections_are_kept_with_their_time_and_bounded():
    service = FakeService()
    dashboard = Dashboard(service)
    for second in range(DETECTIONS + 7):
        service.now = 1000.0 + second
        dashboard.observe(turn(detections=[Reading("adwin", "error", 2.0, 1.0)]))
    found = state(service, dashboard)["detections"]
    assert len(found) == DETECTIONS
    assert found[0]["time"] == 1007
    assert found[-1] == {
        "time": 1006.0 + DETECTIONS,
        "detector": "adwin",
        "signal": "error",
        "statistic": 2.0,
        "threshold": 1.0,
    }


def test_the_status_follows_the_life_of_the_service():
    service = FakeService()
    life = service.lifecycle = Lifecycle({})
    assert state(service)["status"] == "starting"
    life.recover(7)
    assert state(service)["status"] == "recovering"
    life.recovered(3)
    assert state(service)["progress"] == {"batches_applied_again": 3, "batches_in_all": 7}
    life.catch_up()
    service.publisher.commits["committed"] += 1  # of its start: this is no sign of an end
    assert state(service)["status"] == "starting"
    life.warm_up()
    assert (state(service)["status"], state(service)["progress"]) == ("warming up", {})
    life.learn_rows(Warmed("sha", 256, 1000))
    assert state(service)["progress"] == {"warm_start_rows_learned": 256, "warm_start_rows": 1000}
    life.end_warm_up()
    assert (state(service)["status"], state(service)["progress"]) == ("starting", {})
    life.go_live()
    assert state(service)["status"] == "live"
    life.turned_at = time.monotonic() - 1000
    assert state(service)["status"] == "stalled"
    life.end()
    assert state(service)["status"] == "stopping"
    life.go_live()
    life.stop.set()
    assert state(service)["status"] == "stopping"


def test_a_service_without_drift_detection_has_no_readings():
    service = FakeService()
    service.measures.monitor = None
    dashboard = Dashboard(service)
    service.now += 1
    dashboard.observe(turn())
    shown = state(service, dashboard)
    assert shown["drift"] == shown["detections"] == shown["series"]["drift"] == []


def test_a_turn_without_a_sample_asks_the_service_for_nothing():
    """What the loop pays at every turn is the clock: a service that must not be asked proves it."""
    service = FakeService()
    dashboard = Dashboard(service)
    service.totals = service.measures = service.source = service.learner = None
    service.now += 0.9
    dashboard.observe(turn())
    service.now += 0.2
    with pytest.raises(AttributeError):
        dashboard.observe(turn())


def test_a_real_service_has_all_that_is_read(tiny):
    """The fake of the other tests could have what a service has not."""
    world = World(tiny, web={"show_payloads": True}, probes={"share": 0.2})
    dashboard = Dashboard(world.service)
    assert state(world.service, dashboard)["status"] == "starting"
    world.produce(*labelled(40), b"{")
    while not world.service.source.at_end():
        world.now += 1
        dashboard.observe(world.service.turn())
    shown = orjson.loads(orjson.dumps(state(world.service, dashboard)))
    assert (shown["now"]["events"], shown["dead_letters"]) == (41, {"invalid-json": 1})
    assert [each["label"] for each in shown["labels"]] == ["c0", "c1"]
    assert shown["model"]["step"] == world.service.learner.step > 0
    assert sum(each["memory"] for each in shown["labels"]) == shown["now"]["memory_samples"] > 0
    assert shown["now"]["probes"] == shown["outcomes"]["probe"] > 0
    assert shown["recent"][-1]["outcome"] in {"right", "wrong"}
    assert len(shown["drift"]) == 7
    assert len(shown["series"]["time"]) >= 5
    assert {"learn", "predict"} <= set(shown["stage_seconds"])  # a stage of less than a millisecond is not shown
