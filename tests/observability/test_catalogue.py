"""One catalogue, and what `--json`, `/api/state` and `/metrics` make of it: no key goes, and none comes unnoticed."""

import orjson
import pytest

from streamlearn.observability.status import Dashboard, state
from streamlearn.observability.summary import summary
from tests.world import World, labelled

COUNTS = {"events", "predictions", "labels", "dead_letters", "forget_requests", "learner_step", "champion_step"}
COUNTS |= {"samples_learned"}
SUMMARY = {
    *COUNTS,
    *("known_labels", "pending_events", "early_labels", "prequential_accuracy", "forgetting", "weights_sha256"),
    *("seconds", "stage_seconds", "device"),
}
STATE = {
    *("name", "version", "time", "uptime_seconds", "status", "topics", "model", "now", "labels", "outcomes"),
    *("dead_letters", "drift", "detections", "lag", "stage_seconds", "series", "recent"),
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
