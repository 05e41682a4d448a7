"""/metrics: what is not known is a gap, what is past a bound is the rest, and a user's own `other` is not."""

import math

import pytest

from streamlearn.observability.catalogue import CATALOGUE
from streamlearn.observability.exporter import ServiceCollector, samples
from streamlearn.observability.status import state
from tests.observability.fake import FakeService
from tests.world import World, labelled

METRIC = {entry.name: entry for entry in CATALOGUE}


def values(service, name):
    """Return a metric's values by the values of its labels."""
    return dict(samples(METRIC[name], service))


@pytest.fixture
def service():
    service = FakeService(max_labels=2)
    service.learner.task.groups.extend(["a", "other", "other_", "b"])
    return service


def test_a_class_that_is_called_other_is_not_mixed_with_the_rest(service):
    service.totals.predictions.update({"a": 1, "other": 20, "other_": 300, "b": 4000, None: 50000})
    service.measures.probes.by_label = {"a": 0.5, "other": 0.25, "b": 1.0}
    assert values(service, "predictions") == {("a",): 1, ("other_",): 20, ("other",): 4300, ("",): 50000}
    assert values(service, "probe_accuracy") == {("a",): 0.5, ("other_",): 0.25}
    rows = {row["label"]: row["predictions"] for row in state(service)["labels"]}
    assert rows == {"a": 1, "other": 20}
    service.root.metrics.max_labels = 3
    assert values(service, "predictions")["other__",] == 300


def test_what_is_not_known_is_a_gap(service):
    service.keeper = None  # no snapshots are written
    assert values(service, "prequential_accuracy") == {}
    assert values(service, "recovery_horizon_seconds") == {}
    service.measures.prequential.accuracy = 0.5
    service.measures.probes.by_label = {"a": math.nan}
    assert values(service, "prequential_accuracy") == {(): 0.5}
    assert values(service, "probe_accuracy") == {}


def test_a_series_whose_values_are_known_begins_at_zero(service):
    assert values(service, "expired_events") == {("ttl",): 0, ("capacity",): 0}
    assert values(service, "commits")["failed",] == 0


def test_counters_are_not_shown_before_they_are_complete(tiny):
    service = World(tiny).service
    complete = {family.name for family in ServiceCollector(service).collect()}
    service.lifecycle.recover(7)
    service.lifecycle.recovered(3)
    shown = {family.name for family in ServiceCollector(service).collect()}
    assert complete - shown == {f"streamlearn_{entry.name}" for entry in CATALOGUE if entry.kind == "counter"}
    assert values(service, "batches_left_to_reapply") == {(): 4}
    assert service.stages.histograms["export"].sum > 0  # a scrape takes its own time


def test_labels_for_which_probes_have_no_room_are_told(tiny):
    world = World(tiny, probes={"share": 0.9, "capacity": 20, "per_label": 20})
    world.produce(*labelled(80, classes=4))
    world.drain()
    assert values(world.service, "labels_without_probes") == {(): 3}
