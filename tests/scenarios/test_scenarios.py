"""The demo's stream: the same for the same seed, varied, and what a producer would really send, mistakes included."""

import json
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from streamlearn.scenarios import SCENARIOS
from streamlearn.scenarios.story import BAD_RECORDS, Scenario, ScenarioEvent
from streamlearn.stream.fields import Fields
from streamlearn.stream.transport import Record
from tests.targets import decoder

N = 4_000


@pytest.fixture(scope="module", params=SCENARIOS)
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


@pytest.fixture(scope="module")
def events(scenario: Scenario) -> list[ScenarioEvent]:
    return list(scenario.events(N, 0))


@pytest.fixture(scope="module")
def good(events: list[ScenarioEvent]) -> list[tuple[ScenarioEvent, dict[str, str]]]:
    return [(event, json.loads(event.value)) for event in events if event.bad is None]


def test_same_seed_same_stream(scenario, events):
    assert list(scenario.events(N, 0)) == events


def test_other_seed_other_stream(scenario, good):
    other = {json.loads(event.value)["text"] for event in scenario.events(N, 1) if event.bad is None}
    assert len(other - {payload["text"] for _, payload in good}) > 2_500


@pytest.mark.parametrize("n", [0, 1, 50, 1_234])
def test_a_stream_has_the_asked_length(scenario, n):
    assert len(list(scenario.events(n, 0))) == n


def test_most_messages_are_distinct(good):
    assert len({payload["text"] for _, payload in good}) >= 3_000


def test_every_intent_can_be_said_in_a_thousand_ways(scenario):
    said: dict[str, set[str]] = {}
    for seed in range(8):
        for event in scenario.events(N, seed):
            if event.bad is None:
                said.setdefault(event.truth, set()).add(json.loads(event.value)["text"])
    assert set(said) == {intent for group in scenario.groups.values() for intent in group}
    assert min(map(len, said.values())) >= 1_000


def test_no_slot_stays_open(good):
    for _, payload in good:
        assert not set("{}#") & set(payload["text"]), payload["text"]


def test_a_label_is_the_truth(good):
    assert all(payload.get("label", event.truth) == event.truth for event, payload in good)


def test_ids_are_unique_and_the_keys(events, good):
    assert len({event.key for event in events}) == N
    assert all(event.key.decode() == payload["id"] for event, payload in good)


def test_time_goes_on_from_the_injected_start(scenario):
    start, step = datetime(2031, 5, 6, 7, tzinfo=UTC), timedelta(milliseconds=250)
    for i, event in enumerate(scenario.events(100, 0, start=start, interval=step)):
        if event.bad is None:
            assert datetime.fromisoformat(json.loads(event.value)["time"]) == start + i * step


def test_phases_follow_the_story(scenario, events):
    phases = [event.phase for event in events]
    assert list(dict.fromkeys(phases)) == list(dict.fromkeys(stage.phase for stage in scenario.stages))
    assert scenario.stages[-1].until == 1
    for before, stage in zip((None, *scenario.stages), scenario.stages, strict=False):
        assert set(stage.labelled) == set(stage.weights) <= set(scenario.groups)
        begin, end = (int(N * s.until) if s else 0 for s in (before, stage))
        come = {event.truth for event in events[begin:end] if event.bad is None}
        assert come <= {intent for group in stage.weights for intent in scenario.groups[group]}


def test_support_tells_of_new_intents_then_of_all(events, good):
    first, last = events[: N // 5], events[-N // 4 :]
    assert len({event.truth for event in first if event.truth}) == 4
    assert {event.phase for event in first} == {"warm-up"}
    counts = Counter(event.truth for event in last if event.truth)
    assert len(counts) == 16
    assert max(counts.values()) < 2 * min(counts.values())
    labelled = Counter(event.phase for event, payload in good if "label" in payload)
    everything = Counter(event.phase for event, _ in good)
    shares = {phase: labelled[phase] / everything[phase] for phase in everything}
    assert shares["warm-up"] > 0.85
    assert 0.75 < shares["new intents"] < 0.85
    assert 0.3 < shares["everything"] < 0.5


def test_the_drifting_intent_changes_its_words(scenario, good):
    (drifting,) = scenario.groups["drifting"]
    words = [(event.phase, payload["text"].lower()) for event, payload in good if event.truth == drifting]
    new = [("wave" in text or "ripple" in text) for _, text in words]
    assert not any(told for told, (phase, _) in zip(new, words, strict=True) if phase == "warm-up")
    assert sum(told for told, (phase, _) in zip(new, words, strict=True) if phase == "everything") > 40


@pytest.mark.parametrize("n", [300, N, 12_000])
def test_bad_records_are_few_and_spread_and_every_reason_comes_twice(scenario, n):
    found = [(i, event.bad) for i, event in enumerate(scenario.events(n, 3)) if event.bad]
    reasons = Counter(reason for _, reason in found)
    assert set(reasons) == set(BAD_RECORDS)
    assert min(reasons.values()) >= 2
    assert len(found) == max(12, round(n * 0.005 / 6) * 6)
    stretches = {i * len(found) // n for i, _ in found}
    assert len(stretches) == len(found)


def test_the_decoder_takes_the_good_and_gives_the_expected_reason_for_the_bad(events):
    records = [
        Record("support", 0, i, timestamp=0, key=event.key, value=event.value, headers=[])
        for i, event in enumerate(events)
    ]
    decoded = decoder(Fields()).decode(records)
    assert {dead.record.offset: dead.reason for dead in decoded.dead_letters} == {
        i: event.bad for i, event in enumerate(events) if event.bad
    }
    assert [event.source.offset for event in decoded.events] == [i for i, event in enumerate(events) if not event.bad]


def test_starts_without_torch():
    code = "import sys, streamlearn.scenarios; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
