"""Events and labels in any order, each any number of times: every label has exactly one outcome, every event is taken
once, and what waits is bounded. The join is compared with a naive one that keeps lists."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from streamlearn.core.scores import TOP, Scores, loss, probabilities
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.stream.config import JoinerConfig
from streamlearn.stream.events import Event, Forget, Label
from streamlearn.stream.joiner import Joiner
from streamlearn.stream.pending import Pending, Served
from streamlearn.stream.transport import Place
from tests.snapshots import same
from tests.targets import answer, judge

NAMES = [f"c{i}" for i in range(9)]
FORGET = "forget"  # in the place of a label


def event(event_id, label=None, offset=0, time=1000.0, own=True, **slices):
    return Event(event_id, "text", label, time, slices, Place("events", 0, offset), time, own)


def labels(*pairs, time=0.0):
    places = [Place("labels", 0, n) for n in range(len(pairs))]
    return [
        Forget(each, place) if label is FORGET else Label(each, label, place, time)
        for (each, label), place in zip(pairs, places, strict=True)
    ]


def served(events, probabilities=None, tokens=None):
    """What a model says: of each event the same, or the rows of `probabilities`."""
    n = len(events)
    rows = np.tile(np.float32(1 / len(NAMES)), (n, len(NAMES))) if probabilities is None else probabilities
    order = np.argsort(-rows, axis=1)
    tokens = tokens or [np.array([e.source.offset, 7], np.int64) for e in events]
    scores = Scores(rows, order[:, :1], np.take_along_axis(rows, order[:, :1], 1))
    return Served(tokens, answer(scores, NAMES))


def joiner(waits=True, names=NAMES, **config):
    return Joiner(JoinerConfig(**config), judge(names), vocabulary_size=70_000, waits=waits)


def judged(joined):
    own = judge(NAMES)
    return own.judge(np.frombuffer(joined.kept, own.kept), [joined.sample.label])


def take(own, events=(), late=(), now=0.0):
    """One batch, as the intake takes it."""
    rows = own.first(events)
    first = [each for each, row in zip(events, rows, strict=True) if row >= 0]
    return own.join(events, rows, served(first), late, now)


class Naive:
    """The same promises, kept slowly."""

    def __init__(self, ttl, capacity, window):
        self.ttl, self.capacity, self.window = ttl, capacity, window
        self.pending, self.early, self.known, self.older, self.now = [], [], {}, {}, 0.0

    def look(self, key):
        return self.known[key] if key in self.known else self.older.get(key, "?")

    def take(self, events, late, now):
        self.now = max(self.now, now)
        told = {"letters": [], "samples": [], "outcomes": Counter(), "expired": Counter(), "corrections": {}}
        told["forgotten"] = []
        for each in [each for each in self.pending if each[1] < self.now - self.ttl]:
            self.leave(each, told, "ttl")
        for each in [each for each in self.early if each[2] < self.now - self.ttl]:
            self.early.remove(each)
            told["outcomes"]["orphan"] += 1
        # What is a duplicate is decided before the batch, and before anything leaves.
        for each, again in events:
            forgets = each[1] is FORGET
            given = self.again(*each[:2], told) if again and not forgets else forgets or self.event(*each, told)
            told["letters"].append(self.forget(each[0], told) if forgets else given)
        for key, label in late:
            told["letters"].append(self.forget(key, told) if label is FORGET else self.label(key, label, told))
        if len(self.known) >= self.window:
            self.known, self.older = {}, self.known if self.window else {}
        return told

    def forget(self, key, told):
        mine = [each for each in told["samples"] if each[0] == key]
        for each in mine:
            told["letters"][each[3]] = "g" if told["letters"][each[3]] == "l" else "G"
        early = [each for each in self.early if each[0] == key]
        told["samples"] = [each for each in told["samples"] if each[0] != key]
        told["outcomes"]["forgotten"] += len(mine) + len(early)
        told["forgotten"].append(key)
        self.early = [each for each in self.early if each[0] != key]
        self.pending = [each for each in self.pending if each[0] != key]
        for each in (told["corrections"], self.known, self.older):
            each.pop(key, None)
        return "f"

    def again(self, key, label, told):
        return "U" if label is None else self.label(key, label, told).upper()

    def event(self, key, own, tokens, told):
        early = next((each for each in self.early if each[0] == key), None)
        label = own if early is None else early[1]
        self.known[key] = label
        if early is not None:
            self.early.remove(early)
            if own is not None:
                told["outcomes"]["duplicate" if own == label else "correction"] += 1
        if label is not None:
            told["samples"].append([key, label, tokens, len(told["letters"])])
            return "l"
        self.pending.append([key, self.now, tokens])
        if len(self.pending) > self.capacity:
            self.leave(self.pending[0], told, "capacity")
        return "-"

    def leave(self, each, told, bound):
        self.pending.remove(each)
        self.known[each[0]] = None
        told["expired"][bound] += 1

    def label(self, key, label, told):
        waits = next((each for each in self.pending if each[0] == key), None)
        if waits is not None:
            self.pending.remove(waits)
            self.known[key] = label
            told["samples"].append([key, label, waits[2], len(told["letters"])])
            return "l"
        early = next((each for each in self.early if each[0] == key), None)
        before = early[1] if early is not None else self.look(key)
        if before == "?":
            self.early.append([key, label, self.now])
            if len(self.early) > self.capacity:
                self.early.pop(0)
                told["outcomes"]["orphan"] += 1
            return "w"
        if before is None:
            told["outcomes"]["expired"] += 1
            return "x"
        told["outcomes"]["duplicate" if before == label else "correction"] += 1
        if early is not None:
            early[1] = label
        else:
            self.known[key] = label
        if before != label and early is None:
            mine = [each for each in told["samples"] if each[0] == key]
            for each in mine[-1:]:
                each[1] = label
            if not mine:
                told["corrections"][key] = label
        return "s" if before == label else "c"


KEYS = st.integers(0, 11).map("e{}".format)
LABEL = st.sampled_from(NAMES[:3])


class Join(RuleBasedStateMachine):
    @initialize(ttl=st.sampled_from([2.0, 5.0, 1e9]), capacity=st.integers(1, 6), window=st.integers(0, 8))
    def begin(self, ttl, capacity, window):
        self.settings = {"ttl": ttl, "capacity": capacity, "window": window}
        self.own, self.naive = joiner(**self.settings), Naive(**self.settings)
        self.now, self.offset, self.came, self.ended = 10.0, 0, 0, 0

    @rule(
        events=st.lists(st.tuples(KEYS, st.none() | LABEL | st.just(FORGET)), max_size=6),
        late=st.lists(st.tuples(KEYS, LABEL | st.just(FORGET)), max_size=6),
        seconds=st.sampled_from([0.0, 1.0, 2.0, 3.0, -5.0]),
    )
    def batch(self, events, late, seconds):
        self.now += seconds
        made = [
            Forget(key, Place("events", 0, self.offset + n)) if label is FORGET else event(key, label, self.offset + n)
            for n, (key, label) in enumerate(events)
        ]
        self.offset += len(events)
        rows = self.own.first(made)
        here, again = {}, []
        for key, label in events:
            waits = any(key == other[0] for other in self.naive.pending)
            again.append(label is FORGET or here.get(key, waits or self.naive.look(key) != "?"))
            here[key] = label is not FORGET and (again[-1] or self.settings["window"] > 0 or label is None)
        assert [row < 0 for row in rows] == again
        first = [each for each, row in zip(made, rows, strict=True) if row >= 0]
        join = self.own.join(made, rows, served(first), labels(*late), self.now)
        tokens = [[self.offset - len(events) + n, 7] for n in range(len(events))]
        plan = [((*each, own), a) for each, own, a in zip(events, tokens, again, strict=True)]
        told = self.naive.take(plan, late, self.now)
        assert "".join(join.letters) == "".join(told["letters"])
        assert [[s.id, s.label, s.tokens.tolist(), p] for s, p in zip(join.samples, join.places, strict=True)] == told[
            "samples"
        ]
        assert join.forgotten == told["forgotten"]
        for row, label in join.told:
            assert any(sample.id == first[row].id and sample.label == label for sample in join.samples)
        assert len(join.told) + len(join.late) == len(join.samples)
        assert (+join.outcomes, join.expired) == (+told["outcomes"], told["expired"])
        assert join.corrections == told["corrections"]
        forgets = [label is FORGET for _, label in events]
        assert join.duplicates == sum(again) - sum(forgets)
        assert all(join.letters[place] in "lL" for place in join.places)
        self.came += sum(label not in {None, FORGET} for _, label in [*events, *late])
        self.ended += len(join.samples) + join.outcomes.total()

    @rule()
    def goes_through_a_state(self):
        state = self.own.state_dict()
        self.own = joiner(**self.settings)
        self.own.load_state_dict(state)
        assert same(self.own.state_dict(), state)

    @invariant()
    def every_label_has_one_outcome_or_waits(self):
        assert self.came == self.ended + len(self.own.early)

    @invariant()
    def the_same_waits_and_no_more_than_may(self):
        assert list(self.own.pending.ids) == [each[0] for each in self.naive.pending]
        assert [[key, *each] for key, each in self.own.early.items()] == self.naive.early
        assert len(self.own.pending) <= self.settings["capacity"]
        assert len(self.own.early) <= self.settings["capacity"]


TestJoin = Join.TestCase
TestJoin.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_a_joined_sample_is_what_the_event_was():
    own = joiner()
    tokens = [np.array([5, 69_999], np.int64), np.zeros(0, np.int64)]
    events = [event("é\n\u2028", time=100.0, region="eu", vip="true"), event("b", offset=1)]
    own.join(events, [0, 1], served(events, tokens=tokens), [], 120.0)
    join = take(own, late=labels(("é\n\u2028", "c4"), ("b", "new"), time=160.0), now=170.0)
    first, second = join.late
    assert [sample.tokens.tolist() for sample in join.samples] == [[5, 69_999], []]
    assert join.samples[0].tokens.dtype == np.int64
    assert (first.slices, first.time) == ({"region": "eu", "vip": "true"}, 100.0)
    assert judged(first).confidences == [0.111111]
    assert judged(second).losses == [loss(0.0)]
    assert join.delays == [60.0, 0.0]
    take(own, late=labels(("c", "c4"), time=90.0))
    assert take(own, [event("c", offset=2, time=100.0)]).delays == []  # it was early


@pytest.mark.parametrize("classes", [1, 2, TOP, TOP + 1, 9])
def test_what_a_label_got_is_exact_among_the_likeliest_and_a_mean_beyond(classes):
    draw = np.random.default_rng(classes)
    rows = draw.dirichlet(np.ones(classes), 20).astype(np.float32)
    pending, events = Pending(judge(NAMES), 100), [event(f"e{i}", offset=i) for i in range(20)]
    scores = Scores(rows, rows.argsort(1)[:, -1:], rows.max(1, keepdims=True))
    told = served(events)._replace(answer=answer(scores, NAMES))
    for each, packed, row in zip(events, pending.pack(events, range(20), told, 0.0), rows, strict=True):
        found = [pending.unpack([each.id], [packed], [label])[0].kept for label in NAMES]
        numbers = np.arange(len(NAMES))
        got = probabilities(np.frombuffer(b"".join(found), pending.judge.kept)["top_scores"], numbers).tolist()
        kept = np.argsort(-row)[:TOP]
        assert [got[at] for at in kept] == row[kept].tolist()
        rest = [got[at] for at in range(classes) if at not in kept]
        assert rest == pytest.approx([(1 - row[kept].sum()) / max(1, classes - TOP)] * len(rest), abs=1e-6)
        assert got[classes:] == [0.0] * (9 - classes)


def test_before_any_label_is_known_nothing_was_served():
    own, events = joiner(names=[]), [event("a")]
    own.join(events, [0], Served([np.arange(3)], None), [], 0.0)
    (joined,) = take(own, late=labels(("a", "c0"))).late
    found = judged(joined)
    assert (found.said, found.errors, found.losses) == ([None], [1.0], [loss(0.0)])
    assert np.isnan(found.confidences[0])


def test_events_without_ids_of_their_own_are_neither_joined_nor_remembered():
    own = joiner()
    join = take(
        own, [event("events:0:0", own=False), event("events:0:1", "c1", own=False)], labels(("events:0:0", "c0"))
    )
    assert "".join(join.letters) == "-lw"
    assert not len(own.pending)


def test_an_event_may_have_the_place_of_another_as_its_id():
    own = joiner(window=0)
    take(own, [event("events:0:1")])
    again = take(own, [event("events:0:1", "c1", own=False), event("events:0:1")])
    assert "".join(again.letters) == "lU"


def test_without_a_labels_topic_nothing_waits_and_duplicates_go_all_the_same():
    own = joiner(waits=False)
    assert "".join(take(own, [event("a"), event("b", "c1"), event("a")]).letters) == "-lU"
    join = take(own, [event("a", "c0"), event("b", "c1"), event("b", "c2"), event("c")])
    assert "".join(join.letters) == "XSC-"
    assert (join.outcomes, join.corrections) == ({"expired": 1, "duplicate": 1, "correction": 1}, {"b": "c2"})
    assert not len(own.pending)


def test_without_a_window_ids_may_repeat():
    own = joiner(waits=False, window=0)
    assert [take(own, [event("a", "c0"), event("a", "c1")]).letters for _ in range(2)] == [["l", "l"]] * 2
    assert own.state_dict()["known"]["labels"].shape == (0,)


def test_what_waits_leaves_by_ttl_though_the_topic_of_labels_is_gone():
    before = joiner(ttl=10)
    take(before, [event("a")], labels(("z", "c0")), now=0.0)
    own = joiner(waits=False, ttl=10)
    own.load_state_dict(before.state_dict())
    join = take(own, [event("b")], now=11.0)
    assert (join.expired, join.outcomes) == ({"ttl": 1}, {"orphan": 1})
    assert not len(own.pending)


def test_a_state_goes_through_a_snapshot(tmp_path):
    own = joiner(window=3)
    for n in range(5):
        take(
            own,
            [event(f"a{n}", time=n), event(f"b{n}", "c1"), event(f"c{n}", place="é")],
            labels((f"z{n}", "c2")),
            float(n),
        )
    Snapshots(str(tmp_path)).write(name(1, 1), {"joiner": own.state_dict()}, made_by={})
    loaded = Snapshots(str(tmp_path)).load(name(1, 1)).state["joiner"]
    again = joiner(window=3)
    again.load_state_dict(loaded)
    assert same(again.state_dict(), own.state_dict())
    late = labels(*((f"{key}{n}", "c0") for n in range(5) for key in "abcz"))
    assert take(again, late=late, now=9.0).letters == take(own, late=late, now=9.0).letters


def test_ids_that_wait_are_not_taken_twice_though_none_is_remembered():
    own = joiner(window=0)
    assert "".join(take(own, [event("a"), event("a"), event("b", "c0"), event("b", "c0")]).letters) == "-Ull"
    assert "".join(take(own, [event("a"), event("b", "c1")], labels(("a", "c0"), ("a", "c1"))).letters) == "Ullc"
    assert "".join(take(own, [event("a")]).letters) == "-"
    assert not own.state_dict()["known"]["labels"].numel()
