"""A label that turned out to be wrong is put right, and an id that is to be forgotten leaves, wherever they stand; what
a closed form learned of them too."""

import pytest
import torch

from streamlearn.commands.inspect import find, found_in
from streamlearn.core.registry import ComponentSpec
from streamlearn.durability import journal
from streamlearn.learning.strategies.base import ClosedForm
from streamlearn.learning.strategies.family import strategies
from streamlearn.stream.transport import Message
from tests.late import invented
from tests.learners import build, stream
from tests.learning.strategies.test_corrections import statistics
from tests.past import dying, event, forget, image, label, labels, learned, letters, send

pytestmark = pytest.mark.usefixtures("one_thread")

CLOSED = [name for name in strategies if issubclass(strategies.cls(name), ClosedForm)]
each = pytest.mark.parametrize("strategy", CLOSED)


def held(past, event_id):
    """The parts of the state in which an id stands, as `inspect` finds them."""
    past.now += 1
    past.service.keeper._seq = -1
    assert past.save()
    snapshots, name = find(str(past.folder))
    return found_in(snapshots.look(name), event_id)


@pytest.mark.parametrize(
    ("before", "settings", "outcomes"),
    [
        ([event("a")], {}, {}),  # waits for its label
        ([label("a", "x")], {}, {"forgotten": 1}),  # waits for its event
        ([event("a", "x")], {}, {"forgotten": 1}),  # waits for a full batch
        ([event("a", "x"), *(event(f"b{n}", "y") for n in range(3))], {}, {"learned": 4}),
        ([event("a", "x")], {"probes": {"share": 1}}, {"probe": 1}),
        ([event("a", "x"), label("a", "y")], {}, {"correction": 1, "forgotten": 1}),
    ],
)
@pytest.mark.parametrize("strategy", ["er", "dual"])
def test_nothing_is_left_of_an_id(make, before, settings, outcomes, strategy):
    past = make(strategy=strategy, **settings)
    past.start()
    send(past, *before)
    past.drain()
    assert held(past, "a")
    send(past, forget("a"))
    past.drain()
    assert held(past, "a") == []
    assert {name: count for name, count in labels(past).items() if count} == outcomes
    assert past.service.totals.forgets == 1
    (record,) = [record for record in past.records() if record.forgotten]
    assert record.forgotten == (journal.hashed("test", "a"),)
    assert '"a"' not in record.model_dump_json()
    follower, _ = past.follower()
    assert image(follower) == image(past.service)


def test_a_label_that_goes_in_the_same_batch_is_forgotten(make):
    past = make()
    past.start()
    send(past, event("a", "x"), event("b"), label("b", "y"), event("c", "z"), forget("a"), forget("b"))
    past.drain()
    assert letters(past) == ["g-lgff"]
    assert labels(past) == {"forgotten": 2}
    assert learned(past) == {"c": "z"}
    assert past.service.measures.prequential.count == 1
    assert len(past.predictions()) == 3


def test_an_id_may_come_again_once_it_was_forgotten(make):
    past = make(probes={"share": 1}, fields={"id": "$key"})
    past.start()
    send(past, event("a", "x"))
    past.drain()
    send(past, event("a", "y"), forget("a", "events"), event("a", "z"), label("a", "w"))
    past.drain()
    assert "".join(letters(past)) == "pCfpc"
    probe = past.service.measures.probes._store
    assert probe[probe.slot_of["a"]].label == "w"
    assert len(past.predictions()) == 2
    assert held(past, "a")


@pytest.mark.parametrize(("key", "value"), [(None, None), (b"", None), (b"\xff", None), (b"x" * 257, None)])
@pytest.mark.parametrize("topic", ["events", "labels"])
def test_what_names_no_id_is_a_dead_letter(make, topic, key, value):
    past = make(fields={"id": "$key"})
    past.start()
    past.log.append(topic, [Message(value, key)], partition=0)
    past.drain()
    assert past.service.totals.dead_letters == {"schema": 1}
    assert past.service.totals.forgets == 0


def test_without_keys_as_ids_an_event_without_a_value_is_a_dead_letter(make):
    past = make()
    past.start()
    send(past, event("a", "x"), forget("a", "events"))
    past.drain()
    assert past.service.totals.dead_letters == {"invalid-json": 1}
    assert learned(past) == {"a": "x"}


@pytest.mark.parametrize("name", ["taken", "predicted", "committed", "learned"])
def test_a_death_at_any_point_forgets_once_all_the_same(make, name):
    past = make(strategy="dual")
    past.start()
    send(past, *(event(f"e{n}", f"c{n % 3}", f"w{n % 3} w{n}") for n in range(12)))
    past.drain()
    past.save()
    send(past, forget("e5"), forget("e7"))
    with dying(name):
        past.drain()
    past.start()
    past.drain()
    assert (past.service.totals.forgets, labels(past)) == (2, {"learned": 12})
    assert held(past, "e5") == held(past, "e7") == []
    follower, _ = past.follower()
    assert image(follower) == image(past.service)


@each
@pytest.mark.parametrize("passed", [8, 40, 96])  # before and after the centre of the features is fixed
def test_a_closed_form_is_as_if_the_samples_had_never_come(tiny, strategy, passed):
    whole = stream([0, 1, 2, 3] * (passed // 4))
    gone = {sample.id for n, sample in enumerate(whole) if n % 8 in {5, 6}}
    first, second = (build(tiny, strategy, correctable=1000) for _ in range(2))
    for own in (first, second):
        own.task.labels.load_state_dict({"names": [f"class-{n}" for n in range(4)]})
        own.model.head.grow(4)
    if passed > 64:  # the centre is that of the first samples: it stays as it was fixed
        second.add(whole[:64])
        first.add(whole[:64])
        gone = {sample.id for sample in whole[64:] if sample.id in gone}
    first.add([sample for sample in whole[64 if passed > 64 else 0 :] if sample.id not in gone])
    first.flush()
    second.add(whole[64 if passed > 64 else 0 :])
    assert second.strategy.forget([*gone, "nobody"]) == len(gone)
    assert second.strategy.forget([*gone]) == 0
    assert not any(sample_id in second.strategy.recent for sample_id in gone)
    one, other = statistics(first), statistics(second)
    for name, value in one.items():
        assert torch.allclose(value.double(), other[name].double(), rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("strategy", ["ridge", "dual"])
def test_five_hundred_in_mid_stream_leave_less_than_a_millionth(tiny, strategy):
    """Against a learner that never saw them, in double precision; the features are single precision in both."""
    whole = stream([n % 7 for n in range(1500)])
    gone = {sample.id for sample in whole[600:1400] if int(sample.id[1:]) % 8 < 5}
    assert len(gone) == 500
    results = []
    for forgets in (True, False):
        own = build(tiny, strategy)
        spec = ComponentSpec.model_validate({"name": strategy, "dtype": "float64"})
        own.strategy = strategies.build(spec)
        own.strategy.bind(own.model, 0, correctable=1000)
        own.add(whole[:16])  # both number the classes alike
        own.add([sample for sample in whole[16:] if forgets or sample.id not in gone])
        if forgets:
            assert own.strategy.forget([*gone]) == 500
        own.flush()
        results.append(statistics(own))
    one, other = results
    for name, value in one.items():
        away = torch.linalg.vector_norm(value.double() - other[name].double())
        assert away <= 1e-6 * torch.linalg.vector_norm(other[name].double()), name


@each
def test_all_of_a_class_and_all_there_is_can_go(tiny, strategy):
    own, samples = build(tiny, strategy, correctable=1000), stream([0, 1] * 8)
    own.add(samples)
    assert own.strategy.forget([sample.id for sample in samples]) == 16
    assert statistics(own)["counts"].abs().max() == 0
    assert len(own.strategy.recent) == 0
    own.add(stream([1, 2] * 40, start=100))
    assert statistics(own)["counts"].sum() == 80


def hearing(make, share, labelled, unlabelled):
    """A learner that learned events with and without labels."""
    past = make(strategy={"name": "ridge", "unlabelled": 100, "features": 64}, probes={"share": share})
    past.start()
    send(past, *(event(f"e{n}", f"c{n % 3}", f"w{n % 3} w{n}") for n in range(labelled)))
    past.drain()
    send(past, *(event(f"u{n}", None, f"w{n % 3} w{n}") for n in range(unlabelled)))
    past.drain()
    return past


def test_what_was_learned_without_a_label_is_forgotten_too(make):
    past = hearing(make, 0, 72, 12)
    head = past.service.learner.strategy.head
    assert set(head.learned) == {f"u{n}" for n in range(12)}
    assert held(past, "u3")
    send(past, forget("u3"), forget("u3"), forget("nobody"))
    past.drain()
    assert "u3" not in head.learned
    assert head.taken.counts.sum() == 11
    assert held(past, "u3") == []
    follower, _ = past.follower()
    assert image(follower) == image(past.service)


def test_a_late_label_takes_the_place_of_the_guess(make):
    past = hearing(make, 0, 72, 12)
    head = past.service.learner.strategy.head
    send(past, *(label(f"u{n}", "c2") for n in range(4)))  # a batch
    past.drain()
    assert set(head.learned) == {f"u{n}" for n in range(4, 12)}
    assert head.taken.counts.sum() == 8


def test_events_that_may_become_probes_are_not_learned_by_a_guess(make):
    past = hearing(make, 0.3, 120, 60)
    send(past, *(label(f"u{n}", f"c{n % 3}") for n in range(0, 60, 2)))
    past.drain()
    service = past.service
    heard = {*service.learner.strategy.head.learned, *(each.id for each in service.learner.queue.unlabelled)}
    assert len(heard) > 10
    assert any(f"u{n}" in service.measures.probes for n in range(60))
    assert not any(service.measures.probes.may_take(each) for each in heard)


def test_predictions_of_what_is_forgotten_stay(make):
    past = make()
    past.start()
    send(past, event("a"), forget("a"))
    past.drain()
    assert [each["id"] for each in past.predictions()] == ["a"]
    send(past, label("a", "x"))
    past.drain()
    assert "".join(letters(past))[-1] == "w"


def test_a_correction_reaches_what_waits_what_is_remembered_and_the_probes(make):
    past = make(probes={"share": 0.3}, memory={"capacity": 1000}, strategy="er")
    past.start()
    send(past, *(step for n in range(42) for step in (event(f"e{n}"), label(f"e{n}", "x"))))
    past.drain()
    waiting = learned(past)
    service = past.service
    stored = [f"e{n}" for n in range(42) if f"e{n}" in service.learner.memory]
    probes = [f"e{n}" for n in range(42) if f"e{n}" in service.measures.probes]
    assert waiting
    assert stored
    assert probes
    send(past, *(label(f"e{n}", "y") for n in range(42)))
    past.drain()
    assert labels(past)["correction"] == 42
    assert set(learned(past).values()) == {"y"}
    number = service.learner.task.labels.number("y")
    assert service.learner.memory.counts() == {number: len(stored)}
    assert service.measures.probes.counts() == {"y": len(probes)}
    follower, _ = past.follower()
    assert image(follower) == image(service)


@pytest.mark.parametrize("steps", [1, None])
def test_what_has_a_closed_form_is_corrected_until_learning_stops(make, steps):
    past = make(strategy="ncm", probes={"share": 0}, learner={"batch_size": 4, "max_steps": steps})
    past.start()
    send(past, *(event(f"e{n}", f"c{n % 2}", f"w{n}") for n in range(4)))
    past.drain()
    before = past.service.learner.sha256()
    send(past, label("e1", "c0"))
    past.drain()
    assert labels(past) == {"learned": 4, "correction": 1}
    assert (past.service.learner.sha256() == before) == (steps == 1)
    after = image(past.service)
    past.save()
    past.start()
    assert image(past.service) == after
    send(past, label("e1", "c1"))  # and back
    past.drain()
    restored = past.service.learner.strategy.means.counts.tolist()
    assert restored == [2, 2]
    follower, _ = past.follower()
    assert image(follower) == image(past.service)


@pytest.mark.parametrize("late", [False, True])
def test_what_was_served_is_measured_against_the_corrected_label(make, late):
    """As if the right label had come at once: nothing is learned in between, and the past goes through a snapshot."""
    rows, ends = invented(40, classes=8), []
    for wrong in (False, True):
        past = make(probes={"share": 0}, learner={"batch_size": 1000}, metrics={"window": 60})
        past.start()
        send(past, *(event(f"first{n}", name, text) for n, (text, name) in enumerate(rows)))
        past.drain()
        past.service.flush()
        told = [rows[(n + wrong * (n % 3 == 0)) % 40][1] for n in range(40)]
        send(past, *(event(f"e{n}", None if late else told[n], text) for n, (text, _) in enumerate(rows)))
        past.drain()
        send(past, *(label(f"e{n}", told[n]) for n in range(40) if late))
        past.drain()
        past.save()
        past.start()
        before = past.service.measures.prequential.accuracy
        fixed = [n for n in range(40) if told[n] != rows[n][1]]
        send(past, *(label(f"e{n}", rows[n][1]) for n in fixed), *(label("first0", "no other") for _ in fixed[:1]))
        past.drain()
        assert labels(past).get("correction", 0) == len(fixed) + bool(fixed)
        measured = past.service.measures.prequential
        assert (before != measured.accuracy) == wrong
        ends.append(
            [
                measured.count,
                measured.accuracy,
                measured.figures()["kappa"],
                measured.calibration_error,
                measured.total_accuracy,
            ]
        )
        ends[-1] += [pytest.approx(measured.loss, abs=1e-6), dict(measured.slice_accuracy())]
    assert ends[0] == ends[1]
