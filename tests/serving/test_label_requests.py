"""Which events are worth a label: never more than the budget over any window, about the budget over a long one, those
in doubt before others, the same whatever the batches, and after a restart too."""

import math

import numpy as np
import orjson
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from docs.generate import schemas
from streamlearn.core import rng
from streamlearn.core.scores import Scores
from streamlearn.serving.config import LabelRequestsConfig
from streamlearn.serving.label_requests import NOTHING_KNOWN, SAVED, WINDOW, LabelRequests, doubt
from streamlearn.serving.predictor import Reply
from streamlearn.stream.transport import Message
from tests.past import Past, dying, image
from tests.targets import answer

pytestmark = pytest.mark.usefixtures("one_thread")


def requests(budget, *, at_random=0.1, probes=0.0, seed=0):
    return LabelRequests(LabelRequestsConfig(budget=budget, at_random=at_random), seed=seed, probes=probes)


@given(
    budget=st.floats(0.001, 1),
    at_random=st.floats(0, 1),
    probes=st.floats(0, 1),
    runs=st.lists(
        st.tuples(st.integers(1, 150), st.floats(0, 3), st.floats(0, 3)), min_size=1, max_size=12
    ),  # how many events, and between which doubts
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_no_window_has_more_than_the_budget_and_what_was_saved(budget, at_random, probes, runs, seed):
    own, draw = requests(budget, at_random=at_random, probes=probes), np.random.default_rng(seed)
    asked = [
        own.ask(f"e{seed}-{run}-{n}", draw.uniform(min(low, high), max(low, high)))
        for run, (count, low, high) in enumerate(runs)
        for n in range(count)
    ]
    spent = np.cumsum([0, *asked])
    for size in {1, 2, 10, 100, len(asked)}:
        if size <= len(asked):
            most = (spent[size:] - spent[:-size]).max()
            assert most <= size * budget + SAVED * budget + 1 + 1e-6
    assert own.share == pytest.approx(np.mean(asked[-WINDOW:]))


@pytest.mark.parametrize("budget", [0.01, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["even", "equal", "falling", "two kinds"])
def test_a_long_stream_meets_the_budget(budget, kind):
    own, draw, count = requests(budget, probes=0.1), np.random.default_rng(1), 20_000
    doubts = draw.uniform(0, 1, count)
    if kind == "equal":
        doubts[:] = NOTHING_KNOWN
    elif kind == "falling":
        doubts *= np.linspace(1, 0.01, count)
    elif kind == "two kinds":
        doubts = (doubts < budget / 2).astype(float)
    asked = np.array([own.ask(f"e{n}", value) for n, value in enumerate(doubts)])
    assert asked[2000:].mean() == pytest.approx(budget, rel=0.15)


def test_doubt_comes_first_and_chance_has_its_share():
    own, draw = requests(0.1, at_random=0.2), np.random.default_rng(2)
    doubts = draw.uniform(0, 1, 20_000)
    asked = np.array([own.ask(f"e{n}", value) for n, value in enumerate(doubts)])
    assert asked[doubts > 0.95].mean() > 0.8
    assert 0.01 < asked[doubts < 0.8].mean() < 0.04  # about a fifth of the budget, wherever


def test_probes_stand_for_the_stream():
    """Of what would become a probe, what is asked for is as doubtful as the rest."""
    own, draw = requests(0.1, probes=0.2), np.random.default_rng(3)
    doubts = draw.uniform(0, 1, 40_000)
    asked = np.array([own.ask(f"e{n}", value) for n, value in enumerate(doubts)])
    probes = np.array([rng.share(f"e{n}", (0).to_bytes(16, "little"), "probes") < 0.2 for n in range(len(doubts))])
    assert asked[probes].mean() == pytest.approx(0.1, rel=0.15)
    assert doubts[asked & probes].mean() == pytest.approx(0.5, abs=0.03)
    assert doubts[asked & ~probes].mean() > 0.85


def test_it_goes_on_the_same_after_a_way_through_its_state():
    draw, first, again = np.random.default_rng(4), requests(0.1), requests(0.1)
    whole = requests(0.1)
    doubts = draw.uniform(0, 1, 3000).round(2)
    expected = [whole.ask(f"e{n}", value) for n, value in enumerate(doubts)]
    head = [first.ask(f"e{n}", value) for n, value in enumerate(doubts[:1700])]
    again.load_state_dict(first.state_dict())
    assert head + [again.ask(f"e{n + 1700}", value) for n, value in enumerate(doubts[1700:])] == expected
    assert again.share == whole.share
    smaller = requests(0.01)
    smaller.load_state_dict(first.state_dict())
    assert smaller.credit <= smaller.burst


def test_doubt_is_the_margin_and_what_no_class_covers():
    def reply(*rows):
        values = np.array(rows, dtype=np.float32)
        found = answer(Scores(values, values[:, :1], values[:, :1]), ["a", "b", "c"])
        return Reply([np.zeros(1)] * len(rows), found, np.zeros(len(rows)))

    assert doubt(reply([0.7, 0.2, 0.1], [0.4, 0.4, 0.2]), [False, True]) == pytest.approx([0.5, 2.0])
    assert doubt(reply([1.0], [1.0]), [False, True]) == [1.0, 2.0]
    assert doubt(reply([math.nan, math.nan]), [False]) == [NOTHING_KNOWN]
    assert doubt(Reply([np.zeros(1)] * 3, None, np.zeros(3)), [False] * 3) == [NOTHING_KNOWN] * 3


def asked_for(past):
    return {p["id"]: p["label_requested"] for p in past.predictions()}


def test_predictions_ask_and_the_same_after_a_death(tiny, tmp_path):
    ends = []
    for deaths in (False, True):
        past = Past(tiny, tmp_path / f"state-{deaths}", partitions=1, label_requests={"budget": 0.3})
        past.produce(60)
        past.start()
        if deaths:
            for name in ("committed", "learned", "committed"):
                with dying(name, 2):
                    past.drain()
                past.start(every_seconds=1)
        past.drain()
        ends.append((asked_for(past), image(past.service), past.service.totals.label_requests))
    assert ends[0] == ends[1]
    asked = ends[0][0]
    assert 0 < sum(asked.values()) == ends[0][2]
    assert all(int(event[1:]) % 5 == 0 for event, wanted in asked.items() if wanted)  # the others have their label
    schema = schemas()["prediction.schema.json"]
    for prediction in past.predictions():
        Draft202012Validator(schema).validate(prediction)
    follower, again = past.follower()
    assert {p.id: p.label_requested for p in again} == asked
    assert follower.totals.label_requests == ends[0][2]


def test_a_snapshot_has_what_was_spent(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state", label_requests={"budget": 0.3})
    past.produce(40)
    past.start()
    past.drain()
    past.save()
    before = past.service.requests.state_dict()
    past.start()
    after = past.service.requests.state_dict()
    assert after["credit"] == before["credit"]
    assert torch.equal(after["window"], before["window"])
    assert torch.equal(after["recent"], before["recent"])


def test_the_size_of_a_poll_is_no_matter(tiny, tmp_path):
    """Where nothing is learned on the way, which is what a poll's size would change."""
    ends = []
    for most in (1, 7, 64):
        sections = {"label_requests": {"budget": 0.2}, "serving": {"max_batch": most}}
        past = Past(tiny, tmp_path / f"state-{most}", partitions=1, **sections)
        past.start()
        values = [{"id": f"e{n}", "text": f"w{n}"} for n in range(60)]
        past.log.append("events", [message(value) for value in values])
        past.drain()
        ends.append(asked_for(past))
    assert ends[0] == ends[1] == ends[2]
    assert any(ends[0].values())


def message(value):
    return Message(orjson.dumps(value), value["id"].encode())


def test_nothing_is_asked_by_default(tiny, tmp_path):
    past = Past(tiny, tmp_path / "state")
    past.produce(20)
    past.start()
    past.drain()
    assert all("label_requested" not in prediction for prediction in past.predictions())
    assert past.service.totals.label_requests == 0
