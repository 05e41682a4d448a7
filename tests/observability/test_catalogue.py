"""One catalogue, and what `--json`, `/api/state` and `/metrics` make of it: no key goes, and none comes unnoticed."""

from collections import Counter

import orjson
import pytest

from streamlearn.observability.catalogue import CATALOGUE, SHOWN
from streamlearn.observability.status import Dashboard, state
from streamlearn.observability.summary import counts, summary
from tests.world import World, labelled

COUNTS = {"events", "predictions", "labels", "dead_letters", "forget_requests", "learner_step", "champion_step"}
COUNTS |= {"samples_learned"}
SUMMARY = {
    *COUNTS,
    *("known_labels", "pending_events", "early_labels", "prequential_accuracy", "forgetting", "weights_sha256"),
    *("seconds", "stage_seconds", "device"),
}
STATE = {
    *("name", "version", "time", "uptime_seconds", "status", "progress", "topics", "model", "now", "labels"),
    *("outcomes", "dead_letters", "drift", "detections", "lag", "stage_seconds", "series", "recent"),
}
NOW = {
    *("events", "predictions", "abstentions", "novel", "labelled", "dead_letters", "events_per_second"),
    *("labels_per_second", "lag", "window", "accuracy", "total_accuracy", "kappa", "loss", "calibration_error"),
    *("coverage", "answered_accuracy", "forgetting", "backward_transfer", "forward_transfer", "negative_flip_ratio"),
    *("probes", "known_labels", "memory_samples", "memory_capacity", "waiting_samples", "pending_events"),
    *("early_labels", "expired_events", "duplicate_events", "forget_requests", "label_delay_seconds"),
    *("samples_learned", "samples_rehearsed"),
}
ROW = {"label", "memory", "probe_accuracy", "forgetting", "predictions"}


@pytest.fixture
def world(tiny):
    world = World(tiny, probes={"share": 0.2})
    world.produce(*labelled(40), b"{")
    world.drain()
    return world


def test_the_fields_of_the_summary_stay(world):
    shown = summary(world.service)
    assert set(shown) == {*SUMMARY, "this_run"}
    assert set(shown["this_run"]) == SUMMARY
    assert set(shown["samples_learned"]) == set(shown["this_run"]["samples_learned"]) == {"new", "replay"}


def test_the_fields_of_the_state_stay(world):
    for dashboard in (None, Dashboard(world.service)):
        shown = orjson.loads(orjson.dumps(state(world.service, dashboard)))
        assert (set(shown), set(shown["now"])) == (STATE, NOW)
        assert [set(row) for row in shown["labels"]] == [ROW, ROW]


def test_no_two_figures_have_one_name():
    for names in (
        [entry.name for entry in CATALOGUE],
        [each.summary for each in SHOWN],
        [each.page for each in SHOWN],
        [entry.row for entry in CATALOGUE],
    ):
        assert {name for name, count in Counter(names).items() if count > 1} <= {None}
    assert all(entry.labels == ("label",) for entry in CATALOGUE if entry.row)


def test_what_is_shown_in_three_places_is_one_figure(world):
    told, shown = summary(world.service), state(world.service)
    for name in ("events", "predictions", "known_labels", "pending_events", "early_labels", "forget_requests"):
        assert told[name] == shown["now"][name]
    assert told["events"] == 41
    assert told["labels"] == shown["outcomes"]
    assert sum(told["labels"].values()) == shown["now"]["labelled"] == 40
    assert told["dead_letters"] == shown["dead_letters"] == {"invalid-json": 1}
    assert told["samples_learned"]["new"] == shown["now"]["samples_learned"]
    assert sum(row["memory"] for row in shown["labels"]) == shown["now"]["memory_samples"]


def test_this_run_shows_what_came_since_it_began(world):
    since = counts(world.service)
    assert summary(world.service)["this_run"]["events"] == 41
    nothing = summary(world.service, since)["this_run"]
    assert {name: nothing[name] for name in COUNTS} == {
        **dict.fromkeys(("events", "predictions", "forget_requests", "learner_step", "champion_step"), 0),
        "labels": {},
        "dead_letters": {},
        "samples_learned": {"new": 0, "replay": 0},
    }
    world.produce({"id": "later", "text": "w1"}, b"[")
    world.drain()
    told = summary(world.service, since)
    assert (told["events"], told["this_run"]["events"]) == (43, 2)
    assert told["this_run"]["dead_letters"] == {"invalid-json": 1}
    assert told["this_run"]["known_labels"] == told["known_labels"] == 2
