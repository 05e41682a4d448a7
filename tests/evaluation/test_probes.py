"""Probes: bounded, balanced, evaluated in time, and forgetting read on them equals its definition."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamlearn.core.batch import Sample
from streamlearn.core.errors import ConfigError
from streamlearn.evaluation.cohorts import NEVER
from streamlearn.evaluation.config import ProbesConfig
from streamlearn.evaluation.probes import Probes
from tests.evaluation.offline import offline, sizes
from tests.targets import judge

GUIDE = (Path(__file__).parent.parent.parent / "docs" / "forgetting.md").read_text(encoding="utf-8")


def sample(sample_id, label="a"):
    return Sample(str(sample_id), np.arange(1, 2 + len(str(sample_id))), label)


def fill(probes, label, count, start=0):
    """Offer `count` events of a label; return how many of them became probes."""
    return sum(probes.offer(sample(f"{label}{start + n}", label)) for n in range(count))


def answer(probes, labelled, is_right):
    """Evaluate what is due; `is_right` says of each sample whether it is answered right."""
    due = probes.due(labelled)
    correct = np.array([is_right(each) for each in due], bool)
    return due, probes.record(due, correct, np.full(len(due), 0.75))


def taken(probes):
    """Copy the state, as it would come back from a file."""
    state = probes.state_dict()
    store = state.pop("store")
    store["ids"] = json.loads(json.dumps(store["ids"]))
    return {**json.loads(json.dumps(state)), "store": store}


def same(first, second):
    one, other = first.state_dict(), second.state_dict()
    tensors = {"tokens", "lengths", "now", "before", "confidence"}
    assert all(one["store"][name].equal(other["store"][name]) for name in tensors)
    assert one.pop("store")["ids"] == other.pop("store")["ids"]
    assert one == other


def right(each):
    return True


def wrong(each):
    return False


class Machine(RuleBasedStateMachine):
    """One stream of events, batches, corrections and restarts; a second object is restored midway and kept in step."""

    @initialize(
        share=st.sampled_from([0.3, 1.0]),
        per_label=st.sampled_from([20, 25]),
        cohorts=st.integers(1, 3),
        capacity=st.integers(25, 160),
        budget=st.sampled_from([0.0, 0.6, 5.0]),
        every=st.sampled_from([100, 400]),
    )
    def start(self, **values):
        self.config = ProbesConfig(**values)
        self.probes, self.twin = Probes(self.config, judge(), seed=3), None
        self.next, self.results, self.complete = 0, [], {}
        self.clock, self.waits, self.gone, self.met = 0, {}, set(), set()
        self.due(40)  # no later batch is larger

    def everyone(self):
        return [each for each in (self.probes, self.twin) if each is not None]

    @rule(label=st.sampled_from("abcdef"), count=st.integers(1, 60))
    def offer(self, label, count):
        for _ in range(count):
            each = sample(self.next, label)
            found = {probes.offer(each) for probes in self.everyone()}
            assert len(found) == 1
            assert found == {each.id in self.probes}
            self.next += 1

    @rule(labelled=st.integers(0, 40))
    def due(self, labelled):
        answers = [probes.due(labelled) for probes in self.everyone()]
        ids = [[each.id for each in due] for due in answers]
        assert all(each == ids[0] for each in ids)
        assert len(ids[0]) == len(set(ids[0]))
        correct = np.array([(int(each) * 7 + self.clock) % 5 > 1 for each in ids[0]], bool)
        confidence = np.array([(int(each) * 3 % 10) / 10 for each in ids[0]])
        results = [
            probes.record(due, correct, confidence) for probes, due in zip(self.everyone(), answers, strict=True)
        ]
        assert all(each == results[0] for each in results)
        self.results += results[0]
        self.clock += labelled
        held = self.probes.counts()
        evaluated = {result.label for result in results[0]}
        self.waits = {label: self.clock if label in evaluated else self.waits.get(label, self.clock) for label in held}
        assert all(self.clock - at <= self.config.every for at in self.waits.values())
        # A label that is met for the first time does not wait; one that left and came back may.
        assert not labelled or evaluated >= set(held) - self.met
        self.met |= set(held)

    @rule(pick=st.integers(0, 10**6), label=st.sampled_from("abcdef"))
    def correct(self, pick, label):
        ids = sorted(self.probes._store.slot_of)
        if ids:
            each = ids[pick % len(ids)]
            found = [probes.replace(each, label) for probes in self.everyone()]
            self.gone.add(each)
            assert all((left is None) == (each in self.probes) for left in found)

    @rule(pick=st.integers(0, 10**6))
    def remove(self, pick):
        ids = sorted(self.probes._store.slot_of)
        if ids:
            assert all(probes.remove(ids[pick % len(ids)]) for probes in self.everyone())
            assert not self.probes.remove(ids[pick % len(ids)])
            self.gone.add(ids[pick % len(ids)])

    @rule()
    def restart(self):
        self.twin = Probes(self.config, judge(), seed=3)
        self.twin.load_state_dict(taken(self.probes))

    @invariant()
    def bounded_and_each_once(self):
        if not hasattr(self, "probes"):
            return
        assert len(self.probes) == sum(self.probes.counts().values()) <= self.config.capacity
        assert all(count <= (self.config.cohorts + 1) * 25 for count in self.probes.counts().values())
        slots = [slot for _, slot in self.probes._slots()]
        assert sorted(slots) == sorted(self.probes._store.slot_of.values())
        assert len(set(slots)) == len(slots)
        if self.twin is not None:
            same(self.probes, self.twin)

    @invariant()
    def a_complete_cohort_takes_nothing_in(self):
        if not hasattr(self, "probes"):
            return
        now = {}
        for name, label in self.probes._labels.items():
            for cohort in label.cohorts:
                if cohort.complete:
                    ids = [self.probes._store[slot].id for slot in cohort.slots if slot != NEVER]
                    now[name, cohort.number] = set(ids)
        for key, ids in now.items():
            assert ids <= self.complete.get(key, ids)
            assert self.complete.get(key, ids) - ids <= self.gone
        self.complete = now

    @invariant()
    def figures_equal_their_definition(self):
        if not hasattr(self, "probes"):
            return
        found = offline(self.results, sizes(self.probes))
        assert self.probes.class_forgetting() == pytest.approx(found.class_forgetting, abs=1e-12)
        assert self.probes.forgetting == pytest.approx(found.forgetting, abs=1e-12, nan_ok=True)
        assert self.probes.backward_transfer == pytest.approx(found.backward_transfer, abs=1e-12, nan_ok=True)


Machine.TestCase.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**63 - 1), st.lists(st.sampled_from("abc"), min_size=60, max_size=400), st.integers(1, 30))
def test_a_frozen_model_forgets_exactly_nothing(seed, labels, batch):
    probes = Probes(ProbesConfig(share=0.8), judge(), seed=seed)
    for n, label in enumerate(labels):
        probes.offer(sample(n, label))
        if n % batch == 0:
            answer(probes, batch, lambda each: int(each.id) % 3 > 0)
            assert set(probes.class_forgetting().values()) <= {0.0}
    for _ in range(30):
        answer(probes, 40, lambda each: int(each.id) % 3 > 0)
    if probes.class_forgetting():
        assert probes.forgetting == probes.backward_transfer == probes.negative_flip_ratio == 0.0


def test_what_is_forgotten_is_read_by_hand():
    probes = Probes(ProbesConfig(share=1, cohorts=1, budget=0, every=1), judge(), seed=0)
    assert fill(probes, "a", 30) == 20
    for _ in range(5):
        assert math.isnan(probes.forgetting)
        answer(probes, 1, right)
    assert (probes.forgetting, probes.backward_transfer, probes.accuracy()) == (0, 0, {"a": 1})
    answer(probes, 1, wrong)
    assert probes.forgetting == pytest.approx(0.2)
    assert probes.negative_flip_ratio == 1  # four have two answers, and all four were right before
    for _ in range(4):
        answer(probes, 1, wrong)
    assert probes.class_forgetting() == {"a": 1}
    assert probes.backward_transfer == -1
    assert probes.calibration_error == pytest.approx(0.75)
    for _ in range(5):
        answer(probes, 1, right)
    assert probes.forgetting == 0
    assert math.isnan(probes.negative_flip_ratio)  # nothing was right before


def test_forward_transfer_is_the_first_evaluation_above_chance():
    probes = Probes(ProbesConfig(share=1), judge(), seed=0)
    probes.offer(sample("1", "a"))
    answer(probes, 1, right)
    assert probes.forward_transfer == 0
    probes.offer(sample("2", "b"))
    answer(probes, 1, lambda each: each.label == "b")
    assert probes.forward_transfer == pytest.approx((0 + 0.5) / 2)


def test_the_first_cohort_stays_and_the_newest_is_renewed_when_a_label_has_doubled():
    probes = Probes(ProbesConfig(share=1), judge(), seed=0)
    fill(probes, "a", 20)
    first = set(probes._store.slot_of)
    assert fill(probes, "a", 19, 20) == 0  # learned like any other
    assert fill(probes, "a", 40, 39) == 20  # events 40 to 59 of the label
    assert set(sizes(probes)["a"]) == {0, 1}
    assert fill(probes, "a", 60, 79) == 20  # events 118 to 137
    assert set(sizes(probes)["a"]) == {0, 2}
    assert first <= set(probes._store.slot_of)
    assert len(probes) == 40


def test_a_new_label_takes_the_second_cohort_of_the_largest_and_then_gets_none():
    probes = Probes(ProbesConfig(share=1, capacity=60), judge(), seed=0)
    fill(probes, "a", 60)
    assert fill(probes, "b", 20) == 20
    assert probes.counts() == {"a": 40, "b": 20}
    assert fill(probes, "c", 20) == 20
    assert probes.counts() == {"a": 20, "b": 20, "c": 20}
    assert fill(probes, "d", 20) == 0
    assert probes.refused_labels == 1


def test_a_share_of_nothing_turns_probes_off():
    probes = Probes(ProbesConfig(share=0), judge(), seed=0)
    assert fill(probes, "a", 200) == 0
    assert probes.due(1000) == []
    assert math.isnan(probes.forgetting)


def test_the_share_is_the_hash_of_the_id():
    chosen = [Probes(ProbesConfig(share=0.25, capacity=40_000), judge(), seed=seed) for seed in (1, 1, 2)]
    picks = [[probes.offer(sample(n, f"l{n}")) for n in range(2000)] for probes in chosen]
    assert picks[0] == picks[1] != picks[2]
    assert 420 < sum(picks[0]) < 580  # four standard deviations


def test_an_id_that_is_held_stays_a_probe_and_another_label_corrects_it():
    probes = Probes(ProbesConfig(share=1), judge(), seed=0)
    assert probes.offer(sample("x", "a"))
    assert probes.offer(sample("x", "a"))
    assert len(probes) == 1
    assert probes.offer(sample("x", "b"))
    assert probes.counts() == {"b": 1}
    fill(probes, "a", 20)
    left = probes.replace("x", "a")
    assert left is not None
    assert (left.id, left.label) == ("x", "a")
    assert "x" not in probes


def test_a_removed_probe_leaves_its_fold_smaller_and_below_twenty_a_cohort_begins_anew():
    probes = Probes(ProbesConfig(share=1, per_label=25, cohorts=1, budget=0, every=1), judge(), seed=0)
    fill(probes, "a", 25)
    for _ in range(5):
        answer(probes, 1, right)
    for n in (0, 5, 10, 15, 20):  # a whole fold
        assert probes.remove(f"a{n}")
    _, results = answer(probes, 1, right)
    assert (results[0].correct, results[0].total, results[0].evaluation) == (0, 0, 5)
    assert probes.forgetting == 0
    assert probes.remove("a1")
    assert probes.class_forgetting() == {}
    assert fill(probes, "a", 50, 100) == 6
    assert sizes(probes) == {"a": {1: 25}}


def test_a_state_of_another_shape_is_refused_with_a_mend():
    probes = Probes(ProbesConfig(share=1), judge(), seed=0)
    fill(probes, "a", 60)
    with pytest.raises(ConfigError, match="set it to 20"):
        Probes(ProbesConfig(per_label=25), judge(), seed=0).load_state_dict(taken(probes))
    with pytest.raises(ConfigError, match="set it to 40"):
        Probes(ProbesConfig(capacity=20), judge(), seed=0).load_state_dict(taken(probes))


def test_a_capacity_that_holds_no_cohort_is_refused():
    with pytest.raises(ValueError, match="must be at least"):
        ProbesConfig(capacity=20, per_label=25)


def test_the_examples_of_the_guide_run():
    (python,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    exec(compile(python, "forgetting.md", "exec"), {})  # noqa: S102 - the guide is ours
    (block,) = re.findall(r"^```yaml\n(.*?)^```", GUIDE, re.DOTALL | re.MULTILINE)
    ProbesConfig.model_validate(yaml.safe_load(block)["probes"])
