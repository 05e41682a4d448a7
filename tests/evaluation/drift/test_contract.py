"""What every detector promises: a state that goes on bit for bit, the same alarms for the same stream, bounded memory,
a statistic above the threshold exactly where drift is called, and a strong drift that is seen."""

import math

import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.core.registry import ComponentSpec
from streamlearn.evaluation.drift.family import detectors
from streamlearn.evaluation.drift.js import JS
from tests.evaluation.drift import streams

NAMES = list(detectors)
SMALL = {name: {"reference": 60, "window": 40, "every": 10} for name in ("js", "ks", "mmd")}
SMALL |= {"kswin": {"window": 40, "newest": 15, "alpha": 1e-3}, "mmd": SMALL["mmd"] | {"features": 16}}


def build(name, **own):
    return detectors.build(ComponentSpec.model_validate({"name": name, **own}))


def stream(name, before, after=0, seed=0):
    return streams.of(detectors.cls(name).takes, seed, before, after)


def read(detector, values):
    """What a detector says of each value: exact, so that nan equals nan."""
    return [(detector.update(value), repr(detector.statistic), repr(detector.threshold)) for value in values]


def through_json(state):
    """A state as a snapshot would keep it: tensors, and JSON without nan."""
    if isinstance(state, torch.Tensor):
        return state.clone()
    if isinstance(state, dict):
        return {key: through_json(value) for key, value in state.items()}
    assert orjson.loads(orjson.dumps(state)) == state
    return orjson.loads(orjson.dumps(state))


def size(state):
    if isinstance(state, torch.Tensor):
        return state.numel() * state.element_size()
    if isinstance(state, dict):
        return sum(map(size, state.values()))
    if isinstance(state, list):
        return sum(map(size, state))
    return 8 + (len(state) if isinstance(state, str) else 0)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(cut=st.integers(0, 400))
def test_a_restored_detector_goes_on_as_if_nothing_had_happened(name, cut):
    values = stream(name, 250, 150)
    one, other = build(name, **SMALL.get(name, {})), build(name, **SMALL.get(name, {}))
    read(one, values[:cut])
    other.load_state_dict(through_json(one.state_dict()))
    assert repr((other.statistic, other.threshold)) == repr((one.statistic, one.threshold))
    assert read(other, values[cut:]) == read(one, values[cut:])


@pytest.mark.parametrize("name", NAMES)
def test_the_state_is_a_copy(name):
    values = stream(name, 250, 150)
    detector = build(name, **SMALL.get(name, {}))
    read(detector, values[:200])
    state = detector.state_dict()
    expected = read(detector, values[200:])
    other = build(name, **SMALL.get(name, {}))
    other.load_state_dict(state)
    assert read(other, values[200:]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_the_same_stream_gives_the_same_alarms_and_leaves_global_randomness_alone(name):
    values = stream(name, 900, 900)
    torch.manual_seed(1)
    first = read(build(name), values)
    torch.manual_seed(2)
    assert read(build(name), values) == first


@pytest.mark.parametrize("name", NAMES)
def test_drift_is_where_the_statistic_is_above_the_threshold(name):
    detector = build(name, **SMALL.get(name, {}))
    alarms = 0
    for value in stream(name, 400, 200):
        drift = detector.update(value)
        for number in (detector.statistic, detector.threshold):
            assert isinstance(number, float)
            assert math.isnan(number) or math.isfinite(number)
        if drift:
            assert detector.statistic > detector.threshold
        alarms += drift
    assert alarms >= 1


@pytest.mark.parametrize("name", NAMES)
def test_no_test_calls_drift_below_the_threshold(name):
    detector = build(name)
    before = (math.nan, math.nan)
    for value in stream(name, 1500):
        drift = detector.update(value)
        reading = (detector.statistic, detector.threshold)
        if reading != before and not drift:
            assert not detector.statistic > detector.threshold
        before = reading


@pytest.mark.parametrize("name", NAMES)
def test_a_strong_drift_is_seen_soon(name):
    detector = build(name)
    values = stream(name, 1000, 300)
    alarms = [at for at, (drift, *_) in enumerate(read(detector, values)) if drift]
    assert alarms
    assert min(alarms) >= 1000


@pytest.mark.parametrize("name", NAMES)
def test_its_state_does_not_grow(name):
    detector = build(name)
    values = stream(name, 20_000)
    for value in values[:5_000]:
        detector.update(value)
    early = size(detector.state_dict())
    for value in values[5_000:]:
        detector.update(value)
    # ADWIN has a row of at most five buckets more for each doubling; a window may be full now that was not.
    assert size(detector.state_dict()) <= early * 1.1 + 5 * 2 * 16 * 3


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_vary_is_no_drift(name):
    same = stream(name, 1)[0] if detectors.cls(name).takes != "error" else 0.0
    assert not any(drift for drift, *_ in read(build(name), [same] * 1500))


@pytest.mark.parametrize("window", [50, 200])
def test_a_window_as_long_as_the_reference_is_quiet_after_an_abrupt_switch(window):
    detector = JS(JS.Config(reference=window, window=window, every=window))
    alarms = [at for at in range(6000) if detector.update("a" if at < 3000 else "b")]
    assert len(alarms) == 1
