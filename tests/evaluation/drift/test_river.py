"""The classic detectors call drift where river does, with equal settings; and, where ours differ on purpose, soon after
a strong drift."""

import numpy as np
import pytest
from river import datasets, drift
from river._river_rust.drift import AdaptiveWindowing  # ADWIN without the wrapper that throws its window away

from streamlearn.evaluation.drift.adwin import ADWIN
from streamlearn.evaluation.drift.ddm import DDM
from streamlearn.evaluation.drift.kswin import KSWIN
from streamlearn.evaluation.drift.page_hinkley import PageHinkley
from tests.evaluation.drift import streams

ERRORS = {
    "abrupt": streams.bernoulli(0, (0.1, 3000), (0.3, 3000), (0.05, 2000)),
    "gradual": streams.ramp(1, 0.1, 0.5, 8000),
    "rare": streams.bernoulli(2, (0.01, 4000), (0.1, 1000)),
    "phishing": np.array([float(is_phishing) for _, is_phishing in datasets.Phishing()]),
}
NUMBERS = {
    **ERRORS,
    "gaussian": streams.gaussian(3, (0, 3000), (1, 2000), (-1, 2000)),
    "passengers": np.array([float(y) for _, y in datasets.AirlinePassengers()]),
    "water": np.array([float(y) for _, y in datasets.WaterFlow()]),
}


def ours(detector, values):
    return [at for at, value in enumerate(values.tolist()) if detector.update(value)]


def theirs(detector, values):
    found = []
    for at, value in enumerate(values.tolist()):
        detector.update(value)
        if detector.drift_detected:
            found.append(at)
    return found


@pytest.mark.parametrize("every", [1, 32])
@pytest.mark.parametrize("stream", NUMBERS)
def test_adwin_keeps_the_same_window(stream, every):
    other = AdaptiveWindowing(delta=0.002, clock=every, max_buckets=5, min_window_length=5, grace_period=10)
    mine = ADWIN(ADWIN.Config(every=every, direction="both"))
    for at, value in enumerate(NUMBERS[stream].tolist()):
        assert mine.update(value) == other.update(value), at
        assert mine.width == other.get_width(), at
        assert mine.mean * mine.width == pytest.approx(other.get_total(), abs=1e-6)


@pytest.mark.parametrize("stream", NUMBERS)
def test_adwin_begun_anew_after_each_alarm_is_rivers(stream):
    mine, found = ADWIN(ADWIN.Config(direction="both")), []
    for at, value in enumerate(NUMBERS[stream].tolist()):
        if mine.update(value):
            found.append(at)
            mine = ADWIN(ADWIN.Config(direction="both"))
    assert found == theirs(drift.ADWIN(), NUMBERS[stream])


def test_adwin_that_looks_upwards_calls_only_rises():
    values = streams.bernoulli(5, (0.1, 3000), (0.5, 3000), (0.1, 3000))
    both = ours(ADWIN(ADWIN.Config(direction="both")), values)
    up, down = (ours(ADWIN(ADWIN.Config(direction=each)), values) for each in ("up", "down"))
    assert both == sorted({*up, *down})
    assert all(3000 <= at < 6000 for at in up)
    assert any(at >= 6000 for at in down)


@pytest.mark.parametrize("mode", ["up", "down", "both"])
@pytest.mark.parametrize("stream", NUMBERS)
def test_page_hinkley(stream, mode):
    config = PageHinkley.Config(grace=30, delta=0.005, threshold=20, alpha=0.9999, direction=mode, standardized=False)
    expected = theirs(drift.PageHinkley(threshold=20, mode=mode), NUMBERS[stream])
    assert ours(PageHinkley(config), NUMBERS[stream]) == expected


@pytest.mark.parametrize("stream", ERRORS)
def test_ddm(stream):
    assert ours(DDM(DDM.Config()), ERRORS[stream]) == theirs(drift.binary.DDM(), ERRORS[stream])


@pytest.mark.parametrize("seed", range(5))
def test_kswin_sees_strong_drifts_as_soon_as_river(seed):
    values = streams.gaussian(seed, (0, 600), (3, 200))
    config = KSWIN.Config(alpha=0.0001, window=100, newest=30, seed=seed)
    other = theirs(drift.KSWIN(alpha=0.0001, window_size=100, stat_size=30, seed=seed), values)
    mine = ours(KSWIN(config), values)
    first = [next(at for at in found if at >= 600) for found in (mine, other)]
    assert max(first) < 630
    assert abs(first[0] - first[1]) <= 10


def test_the_streams_have_something_to_find():
    found = [name for name, values in NUMBERS.items() if theirs(drift.ADWIN(), values)]
    assert set(found) >= {"abrupt", "gradual", "rare", "gaussian", "water"}
    assert all(theirs(drift.PageHinkley(threshold=20), NUMBERS[name]) for name in ("abrupt", "gradual", "gaussian"))
    assert all(theirs(drift.binary.DDM(), ERRORS[name]) for name in ("abrupt", "gradual", "rare"))
