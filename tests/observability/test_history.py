"""A history of any length is bounded, and its rates and peaks stay true."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.observability.history import History, Point


def point(seconds, events=0, drift=None, **values):
    measures = {"accuracy": None, "kappa": None, "forgetting": None, "lag": 0, "known_labels": 0, "learner_step": 0}
    return Point(time=seconds, events=events, labels=0, dead_letters=0, **(measures | values), drift=drift or {})


def test_a_history_has_one_point_for_each_second():
    history = History(point(0))
    for tenth in range(1, 31):
        history.add(point(tenth / 10, events=tenth))
    columns = history.columns()
    assert columns["time"] == [0.9, 1.9, 2.9, 3.0]
    assert columns["seconds"] == 1
    assert columns["events_per_second"] == [10, 10, 10, 10]


@given(
    gaps=st.lists(st.one_of(st.floats(0.1, 3), st.floats(100, 1e6)), min_size=1, max_size=300),
    most=st.integers(2, 20),
)
def test_a_history_of_any_length_is_bounded_and_keeps_its_ends_order_and_counts(gaps, most):
    history, now, events = History(point(1000.0), points=most), 1000.0, 0
    for gap in gaps:
        now, events = now + gap, events + 3
        history.add(point(now, events=events))
    columns = history.columns()
    assert 1 <= len(history) <= most
    assert columns["time"] == sorted(set(columns["time"]))
    assert columns["time"][-1] == now
    before = [1000.0, *columns["time"]]
    seconds = [b - a for a, b in pairwise(before)]
    counted = sum(rate * each for rate, each in zip(columns["events_per_second"], seconds, strict=True))
    assert counted == pytest.approx(events, rel=1e-2)


def test_thinning_keeps_half_of_a_full_history_and_the_peaks_of_drift():
    history, signal = History(point(0), points=4), ("adwin", "error")
    for second in range(5):
        history.add(point(second, drift={signal: 7.0 if second == 2 else 0.1}, accuracy=second / 10))
    assert history.seconds == 2
    columns = history.columns()
    assert columns["time"] == [1, 3, 4]
    assert columns["accuracy"] == [0.1, 0.3, 0.4]
    assert columns["drift"] == [{"detector": "adwin", "signal": "error", "ratio": [0.1, 7.0, 0.1]}]


def test_a_signal_that_comes_later_has_gaps_before():
    history = History(point(0))
    history.add(point(1))
    history.add(point(2, drift={("ks", "confidence"): 0.5}))
    assert history.columns()["drift"][0]["ratio"] == [None, 0.5]


def test_months_fit():
    history = History(point(0), points=600)
    for hour in range(24 * 180):
        history.add(point(3600.0 * hour, events=hour))
    assert 300 <= len(history) <= 600
    assert history.columns()["time"][-1] == 3600 * (24 * 180 - 1)


def test_a_clock_that_is_set_back_makes_no_time_travel():
    history = History(point(0))
    for second in (10, 11, 5, 6, 12):
        history.add(point(second))
    assert history.columns()["time"] == [10, 11, 12]
