"""The monitor feeds each signal to its detector, skips what is no number, counts what it calls, and goes on from its
state."""

import numpy as np
import pytest
import torch

from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec
from streamlearn.evaluation.drift.family import SIGNALS, detectors, fits
from streamlearn.evaluation.drift.monitor import Monitor
from tests.evaluation.drift.test_contract import through_json

WINDOWS = {"reference": 60, "window": 40, "every": 10}
DEFAULT = {
    "error": "adwin", "loss": "page-hinkley", "embedding": {"name": "mmd", **WINDOWS},
    "confidence": {"name": "ks", **WINDOWS}, "label": {"name": "js", **WINDOWS},
    "unknown_tokens": {"name": "ks", **WINDOWS}, "novelty": {"name": "ks", **WINDOWS},
}  # fmt: skip
NAN = float("nan")


def monitor(**watched):
    return Monitor({signal: ComponentSpec.model_validate(spec) for signal, spec in (watched or DEFAULT).items()})


def feed(watching, count, *, seed=0, changed=False, batch=7):
    """Observe a made-up stream in batches; everything in it changes at once."""
    draw, found = np.random.default_rng(seed), []
    shift = 2.0 * changed
    for start in range(0, count, batch):
        n = min(batch, count - start)
        found += watching.observe(
            torch.from_numpy(draw.normal(shift, 1, (n, 8))).float(),
            draw.normal(shift, 1, n),
            draw.choice(["x", "y", "z"], n, p=[0.1, 0.1, 0.8] if changed else [0.6, 0.3, 0.1]).tolist(),
            draw.normal(shift, 1, n),
            draw.normal(shift, 1, n),
        )
        errors = (draw.random(n) < (0.6 if changed else 0.1)).astype(float)
        found += watching.observe_labelled(errors.tolist(), (draw.exponential(1, n) + shift).tolist())
    return found


def test_every_signal_is_watched_and_a_change_is_seen_in_each():
    watching = monitor()
    assert feed(watching, 400) == []
    assert watching.totals() == {(watching_name(spec), signal): 0 for signal, spec in DEFAULT.items()}
    found = feed(watching, 200, seed=1, changed=True)
    assert {each.signal for each in found} == set(SIGNALS)
    assert all(each.statistic > each.threshold and 400 < each.observed <= 600 for each in found)
    for key, count in watching.totals().items():
        assert count == sum((each.detector, each.signal) == key for each in found)


def watching_name(spec):
    return spec if isinstance(spec, str) else spec["name"]


def test_it_reads_every_detector_in_one_order():
    watching = monitor()
    assert [(each.detector, each.signal) for each in watching.readings()] == list(watching.totals())
    assert all(np.isnan(each.statistic) for each in watching.readings())
    feed(watching, 400)
    assert all(each.statistic <= each.threshold for each in watching.readings())


def test_a_restored_monitor_calls_the_same_drifts():
    one, other = monitor(), monitor()
    feed(one, 395)
    other.load_state_dict(through_json(one.state_dict()))
    assert other.readings() == one.readings()
    assert feed(other, 300, seed=2, changed=True) == feed(one, 300, seed=2, changed=True)
    assert other.totals() == one.totals()
    assert other.counts == one.counts


def test_another_detector_begins_anew_and_the_others_go_on():
    one, other = monitor(), monitor(**{**DEFAULT, "confidence": "adwin"})
    feed(one, 400)
    other.load_state_dict(through_json(one.state_dict()))
    before, after = ({each.signal: each for each in each.readings()} for each in (one, other))
    assert np.isnan(after["confidence"].statistic)
    assert all(after[signal] == before[signal] for signal in SIGNALS if signal != "confidence")


def test_how_a_stream_is_cut_into_batches_makes_no_difference():
    one, other = monitor(), monitor()
    rows = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (300, 8))).float()
    rows[200:] += 2
    empty = np.full(300, NAN)
    found = one.observe(rows, empty, [None] * 300, empty, empty)
    split = []
    for start, end in ((0, 1), (1, 100), (100, 100), (100, 299), (299, 300)):
        part = empty[start:end]
        split += other.observe(rows[start:end], part, [None] * len(part), part, part)
    assert found
    assert split == found


def test_what_is_no_number_is_no_observation():
    watching = monitor()
    rows = torch.ones(3, 8)
    rows[1, 0] = NAN
    watching.observe(rows, np.array([0.5, NAN, 0.5]), ["x", None, "y"], np.full(3, NAN), np.array([NAN, 1, np.inf]))
    watching.observe_labelled([0, NAN], [NAN, np.inf])
    assert watching.counts == {"embedding": 2, "confidence": 2, "label": 2, "novelty": 1, "error": 1}


@pytest.mark.parametrize("signal", SIGNALS)
@pytest.mark.parametrize("name", list(detectors))
def test_a_detector_takes_a_signal_or_those_that_do_are_named(name, signal):
    kinds = {SIGNALS[signal], *(["number"] if SIGNALS[signal] == "error" else [])}
    if detectors.cls(name).takes in kinds:
        watching = monitor(**{signal: name})
        feed(watching, 40)
        assert watching.counts == {signal: 40}
    else:
        with pytest.raises(ConfigError, match=rf"drift\.{signal}: '{name}' takes .*\n.*choose one of: [a-z]+"):
            fits(signal, ComponentSpec(name=name))
