"""Labels on a topic of their own: whenever they come, each has one outcome, events are predicted once, and a restart
changes nothing."""

from collections import Counter

import pytest

from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.durability import failpoints
from streamlearn.observability.catalogue import CATALOGUE
from streamlearn.observability.exporter import samples
from streamlearn.observability.status import state
from tests.late import SHARES, invented, plan
from tests.past import Past, dying, event, image, label, labels, learned, letters, send
from tests.snapshots import same

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def make(tiny, tmp_path):
    made = []

    def past(**sections):
        made.append(Past(tiny, tmp_path / f"state-{len(made)}", labels=True, **sections))
        return made[-1]

    return past


@pytest.fixture
def past(make):
    own = make(probes={"share": 0})
    own.start()
    return own


def test_a_label_finds_its_event_whichever_comes_first(past):
    send(past, event("a"), event("b"))
    past.drain()
    assert len(past.service.intake.joiner.pending) == 2
    send(past, label("a", "x"), label("c", "y"))
    past.drain()
    send(past, event("c"))
    past.drain()
    assert learned(past) == {"a": "x", "c": "y"}
    assert "".join(letters(past)).count("l") == 2
    assert "w" in "".join(letters(past))
    assert sorted(p["id"] for p in past.predictions()) == ["a", "b", "c"]
    assert list(past.service.intake.joiner.pending.ids) == ["b"]
    past.service.flush()
    assert labels(past) == {"learned": 2}
    assert past.service.measures.prequential.count == 2


def test_in_one_batch_the_event_comes_first(past):
    send(past, label("a", "x"), event("a"))
    past.drain()
    assert letters(past) == ["-l"]
    assert learned(past) == {"a": "x"}


def test_what_comes_again_is_told_apart(past):
    send(past, event("a"), label("a", "x"))
    past.drain()
    send(past, label("a", "x"), label("a", "y"), label("z", "x"), label("z", "x"))
    past.drain()
    assert labels(past) == {"duplicate": 2, "correction": 1}
    assert learned(past) == {"a": "y"}


def test_an_event_that_comes_again_is_not_predicted_again(past):
    send(past, event("a"), event("b", "x"))
    past.drain()
    send(past, event("a"), event("b", "x"), event("a", "y"), event("d"), event("d"))
    past.drain()
    assert sorted(p["id"] for p in past.predictions()) == ["a", "b", "d"]
    totals = past.service.totals
    assert (totals.events, totals.duplicates, totals.predictions.total()) == (7, 4, 3)
    assert labels(past) == {"duplicate": 1}
    assert learned(past) == {"a": "y", "b": "x"}
    assert sorted("".join(letters(past))) == sorted("-lULS-U")


def test_what_waits_too_long_leaves(make):
    past = make(probes={"share": 0}, joiner={"ttl": 10, "capacity": 3})
    past.start()
    send(past, event("a"), label("z", "x"))
    past.drain()
    past.now += 11
    send(past, label("a", "x"))
    past.drain()
    assert labels(past) == {"expired": 1, "orphan": 1}
    send(past, *(event(f"b{n}") for n in range(5)))
    past.drain()
    assert past.service.totals.expired == {"ttl": 1, "capacity": 2}
    assert len(past.service.intake.joiner.pending) == 3
    assert letters(past)[1] == "x"


def test_bad_labels_are_dead_letters_and_no_events(past):
    send(past, event("a"), ("labels", "a", b"{"), ("labels", "a", b""), label("a", ["x"]), label("a", "x"))
    past.drain()
    reasons = Counter(dict(r.headers)["streamlearn.reason"].decode() for r in past.log.records("test.dead-letters"))
    assert reasons == {"invalid-json": 2, "label-type": 1}
    assert past.service.totals.dead_letters == reasons
    assert past.service.totals.events == 1
    assert learned(past) == {"a": "x"}
    assert sorted("".join(letters(past))) == sorted("-dddl")


def test_late_labels_are_measured_against_what_was_served(make):
    """The same events with their labels in them, and later: what is measured is the same, since nothing is learned in
    between."""
    rows, ends = invented(30), []
    for late in (False, True):
        past = make(probes={"share": 0}, learner={"batch_size": 1000}, serving={"max_batch": 8, "abstain_below": 0.3})
        past.start()
        send(past, *(event(f"first{n}", name, text) for n, (text, name) in enumerate(rows)))
        past.drain()
        past.service.flush()
        send(past, *(event(f"e{n}", None if late else name, text) for n, (text, name) in enumerate(rows)))
        past.drain()
        send(past, *(label(f"e{n}", name) for n, (_, name) in enumerate(rows) if late))
        past.drain()
        measured = past.service.measures.prequential
        kappa = measured.figures()["kappa"]
        ends.append((measured.count, measured.accuracy, kappa, measured.coverage, measured.calibration_error))
        ends[-1] += (
            round(measured.loss, 5),
            past.service.measures.monitor.counts["error"],
            past.service.measures.monitor.counts["loss"],
        )
    assert ends[0] == ends[1]
    assert ends[0][0] == 60


def test_probes_are_chosen_by_their_id_however_late_the_label(make):
    rows, chosen = invented(60, classes=1), []
    for late in (False, True):
        past = make(probes={"share": 0.3})
        past.start()
        send(past, *(event(f"e{n}", None if late else name, text) for n, (text, name) in enumerate(rows)))
        past.drain()
        send(past, *(label(f"e{n}", name) for n, (_, name) in enumerate(rows) if late))
        past.drain()
        chosen.append({f"e{n}" for n in range(60) if f"e{n}" in past.service.measures.probes})
        assert labels(past)["probe"] == len(chosen[-1])
    assert chosen[0] == chosen[1]
    assert chosen[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_each_outcome_is_the_plans(make, seed):
    planned = plan(invented(400, seed=seed), seed=seed, delay=40)
    past = make()
    past.start()
    for part in planned.parts(7):
        send(past, *part)
        past.drain()
    past.service.flush()
    found = past.service.totals.labels
    assert found["learned"] + found["probe"] == planned.joined
    assert {name: found[name] for name in planned.outcomes} == planned.outcomes
    assert set(found) <= {"learned", "probe", *planned.outcomes}
    assert len(past.service.intake.joiner.pending) == planned.unlabelled
    assert not past.service.intake.joiner.early
    assert all(planned.outcomes.values()), SHARES
    assert sorted(p["id"] for p in past.predictions()) == sorted(f"e{n}" for n in range(400))


def test_what_waits_and_what_came_late_is_shown(make):
    past = make(joiner={"capacity": 5}, probes={"share": 0})
    past.start()
    send(past, *(event(f"e{n}", time=past.now - 60) for n in range(9)), event("e0"), label("z", "x"))
    past.drain()
    send(past, label("e8", "x"))
    past.drain()
    service = past.service
    shown = {entry.name: dict(samples(entry, service)) for entry in CATALOGUE}
    assert (shown["pending_events"], shown["early_labels"]) == ({(): 4}, {(): 1})
    assert shown["expired_events"] == {("ttl",): 0, ("capacity",): 4}
    assert shown["duplicate_events"] == {(): 1}
    assert shown["labels"]["orphan",] == 0
    now = state(service)["now"]
    assert (now["pending_events"], now["early_labels"], now["expired_events"], now["duplicate_events"]) == (4, 1, 4, 1)
    assert now["label_delay_seconds"] == pytest.approx(60, abs=0.1)
    past.start()
    assert not sum(past.service.totals.delay.counts)  # nobody waits for what is learned again
    assert past.service.totals.duplicates == 1


@pytest.mark.parametrize("name", [each for each in failpoints.NAMES if not each.startswith("warm")])
def test_a_death_at_any_failpoint_changes_nothing(make, name):
    planned = plan(invented(60), delay=20)
    past = make(joiner={"ttl": 8, "window": 40})
    once = name in {"started", "reapplied", "snapshot-written", "snapshot-named"}
    deaths = [("learned", 2), (name, 1 if once else 2)]
    past.start(every_seconds=3)
    for part in planned.parts(10):
        send(past, *part)
        if deaths:
            with dying(*deaths[0]):
                past.start(every_seconds=3)
                while not past.service.source.at_end():
                    past.now += 1
                    past.service.turn()
                continue
            deaths.pop(0)
        past.start(every_seconds=3)
        past.now += 1
        past.drain()
    past.start()
    past.drain()
    assert not deaths
    made = Counter(p["id"] for p in past.predictions())
    assert made == Counter(f"e{n}" for n in range(60))
    assert len("".join(letters(past))) == len(planned.steps)
    follower, again = past.follower()
    assert image(follower) == image(past.service)
    assert past.service.lifecycle.disagreements == follower.lifecycle.disagreements == 0
    assert {p.id: p.score for p in again} == {p["id"]: p["score"] for p in past.predictions()}
    totals, waits = past.service.totals, past.service.intake.joiner
    came = sum(step.topic == "labels" for step in planned.steps)
    assert totals.labels.total() + len(past.service.learner.waiting) + len(waits.early) == came


@pytest.mark.parametrize("strategy", ["er", "dual"])
def test_restarts_in_the_middle_end_as_none(make, strategy):
    """Whether killed after a commit, or stopped in order with a snapshot: the same state as of one process."""
    planned, ends = plan(invented(120), delay=30), []
    for dies in (False, True):
        past = make(strategy=strategy)
        past.start()
        for number, part in enumerate(planned.parts(12)):
            send(past, *part)
            if dies and number in {3, 9}:
                with dying("committed" if number == 3 else "learned", 2):
                    past.drain()
                past.start()
            past.drain()
            if dies and number == 6:
                past.save()
                past.start()
        ends.append((image(past.service), past.service.state.state_dict()["joiner"]))
    assert ends[0][0] == ends[1][0]
    assert same(ends[0][1], ends[1][1])


def test_labels_that_are_gone_are_refused_until_the_loss_is_accepted(past):
    send(past, *(event(f"e{n}") for n in range(8)), *(label(f"e{n}", "x") for n in range(8)))
    past.drain()
    assert {place.topic for place in past.service.lifecycle.needed} == {"events", "labels"}
    before = image(past.service)
    past.start()
    assert image(past.service) == before
    place = next(each for each in past.service.lifecycle.positions if each.topic == "labels")
    past.log.truncate(place, past.service.lifecycle.positions[place])
    with pytest.raises(StreamlearnError, match=r"(?s)labels\[\d\].*were learned, and the log now gives.*accept_loss"):
        past.start()
    past.start(accept_loss=True)
    assert past.recovery.lost
    assert len(past.service.intake.joiner.pending) > 0  # whose labels are gone
    assert not past.service.lifecycle.needed


def test_a_labels_topic_that_was_made_anew_or_is_not_named_any_more_is_refused(past):
    past.topic_ids = {"events": "first", "labels": "one"}
    past.start()
    send(past, event("a"), label("a", "x"))
    past.drain()
    past.topic_ids = {"events": "first", "labels": "two"}
    with pytest.raises(StreamlearnError, match=r"(?s)'labels': the topic was made anew"):
        past.start()
    past.topic_ids = {"events": "first", "labels": "one"}
    past.inputs_ = ["events"]
    with pytest.raises(ConfigError, match=r"(?s)kafka.topics.labels.*--max-events 0"):
        past.start()
    past.inputs_ = ["events", "labels"]
    past.start()
    past.save()
    past.inputs_ = ["events"]
    past.start()
    assert past.service.totals.labels.total() + len(past.service.learner.waiting) == 1
