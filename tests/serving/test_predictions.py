"""What is published of an answer: its label always, whether it is one to act upon, and whether any class covers the
event. The thresholds are the reader's: raising one never takes a mark away."""

from itertools import pairwise

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamlearn.core.scores import Scores
from streamlearn.learning.novelty import ENOUGH
from streamlearn.learning.strategies.family import strategies
from streamlearn.observability.exporter import ServiceCollector
from streamlearn.serving.predictions import predictions
from streamlearn.serving.predictor import Reply
from streamlearn.stream.events import Event
from streamlearn.stream.transport import Place
from tests.targets import answer, judge
from tests.world import World, labelled


def said(scores, novelty=None, *, abstain_below=0.0, novel_share=0.02):
    n = len(scores)
    events = [Event(f"e{i}", "a", None, 0.0, {}, Place("t", 0, i), 0.0, has_own_id=True) for i in range(n)]
    own = np.array([[score, 1 - score] for score in scores], np.float32)
    labels = ["card", "refund"]
    found = answer(Scores(own, np.tile([1, 0], (n, 1)), own), labels)
    reply = Reply([np.zeros(1, int)] * n, found, np.zeros(n, int), novelty)
    return predictions(
        events, reply, judge(labels), step=3, champion=2, abstain_below=abstain_below, novel_share=novel_share
    )


def test_a_low_score_abstains_and_names_its_label_all_the_same():
    low, high = said([0.3, 0.7], abstain_below=0.5)
    assert (low.label, low.score, low.abstained, low.reason) == ("refund", 0.3, True, "low-score")
    assert low.said["top"] == [{"label": "refund", "score": 0.3}, {"label": "card", "score": 0.7}]
    assert (high.label, high.abstained, high.reason) == ("refund", False, None)


def test_nothing_abstains_by_default_and_a_score_at_the_threshold_does_not():
    assert not any(each.abstained for each in said([0.0, 0.5, 1.0]))
    assert [each.abstained for each in said([0.7, 0.6999999, 0.699], abstain_below=0.7)] == [False, False, True]


def test_a_higher_threshold_abstains_from_more():
    scores = np.linspace(0, 1, 41)
    marks = [np.array([each.abstained for each in said(scores, abstain_below=at)]) for at in np.linspace(0, 1, 21)]
    assert all((after >= before).all() for before, after in pairwise(marks))
    assert (marks[0].sum(), marks[-1].sum()) == (0, 40)


def test_a_larger_share_marks_more_as_novel():
    novelty = np.linspace(0, 0.999, 50)
    marks = [
        np.array([each.novel for each in said([0.9] * 50, novelty, novel_share=share)])
        for share in np.linspace(0, 1, 21)
    ]
    assert all((after >= before).all() for before, after in pairwise(marks))
    assert (marks[0].sum(), marks[-1].sum()) == (0, 50)


def test_nobody_knows_what_is_novel_before_enough_was_learned():
    (only,) = said([0.9])
    assert (only.novelty, only.novel) == (None, False)


def served(tiny, strategy="dual", *, events=(), max_batch=8, **serving):
    world = World(tiny, partitions=1, strategy=strategy, serving={"max_batch": max_batch, **serving})
    world.produce(*events)
    world.drain()
    return world


def metrics(world):
    registry = CollectorRegistry()
    registry.register(ServiceCollector(world.service))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_coverage_and_accuracy_of_what_was_answered_are_measured(tiny):
    world = served(tiny, events=labelled(60), abstain_below=1.0)
    told = world.predictions()
    assert all(each["abstained"] == (each["label"] is None or each["score"] < 1) for each in told)
    assert {each["label"] for each in told if each["reason"] == "low-score"} <= {"c0", "c1"}
    found = metrics(world)
    answered = sum(not each["abstained"] for each in told[-50:])
    assert found["streamlearn_prequential_coverage",] == answered / 50
    assert found["streamlearn_predictions_total", ""] == sum(each["abstained"] for each in told)
    assert found["streamlearn_prequential_accuracy",] > 0.5
    assert ("streamlearn_prequential_answered_accuracy",) not in found or answered


def test_without_a_threshold_what_is_answered_is_what_is_served(tiny):
    found = metrics(served(tiny, events=labelled(80)))
    assert found["streamlearn_prequential_coverage",] == 1
    assert found["streamlearn_prequential_answered_accuracy",] == found["streamlearn_prequential_accuracy",]


def test_what_is_answered_changes_nothing_that_is_learned(tiny):
    worlds = [served(tiny, events=labelled(60), abstain_below=at, novel_share=at) for at in (0.0, 1.0)]
    assert len({world.service.learner.sha256() for world in worlds}) == 1
    assert len({world.service.measures.prequential.accuracy for world in worlds}) == 1


def varied(n, start=0):
    """Two classes with words of their own, in all combinations."""
    draw = np.random.default_rng(start)
    events = []
    for i in range(start, start + n):
        words = draw.integers(0, 8, 4) + 20 * (i % 2)
        events.append({"id": f"e{i}", "text": " ".join(f"w{word}" for word in words), "label": f"c{i % 2}"})
    return events


@pytest.mark.parametrize("strategy", ["dual", "ridge", "slda"])  # the cosines of ncm tell little on random weights
def test_what_no_class_covers_is_marked(tiny, strategy):
    world = served(tiny, strategy, events=varied(400))
    known = [{"id": f"k{each['id']}", "text": each["text"]} for each in varied(100, 1000)]
    foreign = [{"id": f"f{i}", "text": f"w{100 + i} w{150 + i % 30} w{120 + i} w{190 - i}"} for i in range(50)]
    world.produce(*known, *foreign)
    world.drain()
    said = world.predictions()[-150:]
    usual, novel = ([each for each in said if each["id"][0] == kind] for kind in "kf")
    assert all(0 <= each["novelty"] < 1 for each in said)
    assert np.mean([each["novel"] for each in usual]) < 0.1
    assert np.mean([each["novel"] for each in novel]) > 0.5
    assert np.mean([each["novelty"] for each in novel]) > 0.8
    assert metrics(world)["streamlearn_novel_events_total",] >= sum(each["novel"] for each in said)


@pytest.mark.parametrize("strategy", list(strategies))
def test_what_is_usual_depends_on_the_order_of_samples_alone(tiny, strategy):
    states = []
    for size in (1, 5, 8):
        world = World(tiny, partitions=1, strategy=strategy, serving={"max_batch": size})
        world.produce(*varied(130))
        world.drain()
        states.append({name: each.tolist() for name, each in world.service.learner.novelty.state_dict().items()})
    assert states[0] == states[1] == states[2]
    assert len(states[0]["window"]) >= ENOUGH


@pytest.mark.parametrize("strategy", list(strategies))
def test_the_first_events_say_nothing_of_novelty(tiny, strategy):
    told = served(tiny, strategy, events=varied(60)).predictions()
    assert {(each["novelty"], each["novel"]) for each in told} == {(None, False)}
    orjson.dumps(told)
