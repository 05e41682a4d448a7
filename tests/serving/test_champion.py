"""While the champion is held, it answers to the bit as it did, whatever is learned; it copies what moves and nothing
else, and comes back from a snapshot. While it follows, it is the learner, and costs nothing. Every strategy keeps
this."""

from collections.abc import Mapping

import pytest
import torch
from torch import nn

from streamlearn.core.timing import Stages
from streamlearn.durability.snapshots import Snapshots, name
from streamlearn.learning.strategies.family import strategies
from streamlearn.serving.champion import Champion
from streamlearn.serving.predictor import ServedModel
from tests.learners import build, stream
from tests.models import WORDS, save

CASES = {  # every strategy, and ways in which more or less of a model moves
    **{each: {"strategy": each} for each in strategies},
    "er, upper layers": {"strategy": "er", "freeze": "layers", "frozen_layers": 2},
    "er, head alone": {"strategy": "er", "freeze": "encoder"},
    "er, embeddings too": {"strategy": "er", "train_embeddings": True},
    "er, dropout": {"strategy": "er", "dropout": 0.1},
    "dual, always rehearsed": {"strategy": {"name": "dual", "rehearsal": "always"}},
    "ridge, unlabelled": {"strategy": {"name": "ridge", "unlabelled": 40}},
}
EARLY, LATE = stream([0, 1, 2, 3] * 40), stream([3, 4, 5, 1, *range(6, 30)] * 6, start=1000)  # late the head grows
TEXTS = [f"w{n} {WORDS[60 + n]}" for n in range(20)]
UNREAD = {"inverse", "rows", "targets", "first_hidden", "first_labels", "heard_hidden", "heard_guesses"}  # by answers

every_case = pytest.mark.parametrize("case", CASES)


def learn(own, samples):
    """Learn the samples, and every other one as an event without a label too."""
    for start in range(0, len(samples), 16):
        own.add(samples[start : start + 16])
        if own.strategy.learns_unlabelled:
            own.add_unlabelled([sample._replace(id=f"u{sample.id}") for sample in samples[start : start + 16 : 2]])


def begin(folder, case):
    own = build(folder, correctable=50, **CASES[case])
    return own, Champion(own)


def served(champion, own):
    return ServedModel(champion, own.task, top_k=3, stages=Stages())


def bits(champion, own):
    """All that is answered, to the bit."""
    told = served(champion, own)
    reply = told.predict(TEXTS)
    novelty = b"" if reply.novelty is None else reply.novelty.tobytes()
    scores = reply.answer.scores
    again = told.answer(reply.tokens).scores.probabilities
    return again.tobytes(), scores.probabilities.tobytes(), scores.top.tobytes(), novelty


def tensors(value, seen=None):
    """Every tensor that hangs on an object."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from tensors(inner, seen)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from tensors(inner, seen)
    elif type(value).__module__.startswith("streamlearn") or isinstance(value, nn.Module):
        yield from tensors(vars(value), seen)


def filled(state):
    """The names of tensors that hold anything."""
    return {key for key, each in state.items() if isinstance(each, torch.Tensor) and each.numel()}


def restored(folder, case, store, state):
    """A learner and its champion, of what a way through a snapshot leaves of a state."""
    store.write(name(0, len(store.names())), state, made_by={})
    own, champion = begin(folder, case)
    loaded = store.load(store.names()[-1]).state
    own.load_state_dict(loaded)
    champion.load_state_dict(loaded)
    return own, champion, loaded


@every_case
def test_what_is_held_answers_as_before_whatever_is_learned(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    before = bits(champion, own)
    assert before[3], "its novelty is asked for too"
    champion.hold()
    assert bits(champion, own) == before
    learn(own, LATE)
    assert bits(champion, own) == before
    assert (champion.weights.step, own.step) == (20, 41)
    assert bits(Champion(own), own) != before


@every_case
def test_following_again_is_the_learner(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    learn(own, LATE)
    champion.follow()
    assert champion.state_dict() == {}
    assert champion.weights.step == own.step
    assert bits(champion, own) == bits(Champion(own), own)
    learn(own, EARLY)
    assert bits(champion, own) == bits(Champion(own), own)


@every_case
def test_what_follows_copies_nothing(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    model, strategy, novelty, _ = champion.weights
    assert model is own.model
    assert strategy is own.strategy
    assert novelty is own.novelty


@every_case
def test_the_learner_does_not_notice_that_its_champion_is_held(tiny, case):
    digests = []
    for held in (True, False):
        own, champion = begin(tiny, case)
        learn(own, EARLY)
        if held:
            champion.hold()
            bits(champion, own)
        learn(own, LATE)
        digests.append(own.sha256())
    assert digests[0] == digests[1]


@every_case
def test_what_stands_still_is_shared_and_what_moves_is_copied(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    moving = {id(parameter) for parameter in own.trained()}
    held = dict(champion.weights.model.named_parameters())
    for parameter_name, parameter in own.model.named_parameters():
        shared = held[parameter_name].data_ptr() == parameter.data_ptr()
        assert shared != (id(parameter) in moving), parameter_name
    pairs = zip(own.model.buffers(), champion.weights.model.buffers(), strict=True)
    assert all(one.data_ptr() == other.data_ptr() for one, other in pairs)


@every_case
def test_what_is_held_takes_what_moves_and_what_answers_read_of_it(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    learners = {each.untyped_storage().data_ptr() for each in tensors([own.model, own.strategy])}
    copied = [
        each
        for each in tensors([champion.weights.model, champion.weights.strategy])
        if each.untyped_storage().data_ptr() not in learners
    ]
    read = [
        value
        for key, value in own.strategy.state_dict().items()
        if isinstance(value, torch.Tensor) and key.removeprefix("student_") not in UNREAD
    ]
    moved, state = (sum(each.nbytes for each in part) for part in (own.trained(), read))
    # What follows from the state is no larger: directions of means, discriminants of a scatter; and one batch's scores.
    assert sum(each.untyped_storage().nbytes() for each in copied) <= moved + 2 * state + 1024
    regression = getattr(getattr(champion.weights.strategy, "head", None), "regression", None)
    if regression is not None:
        assert regression.inverse.numel() == 0
        assert regression.weights.numel() > 0


@every_case
@pytest.mark.parametrize("late", [[], LATE], ids=["at once", "the learner moved on"])
def test_what_is_held_comes_back_from_a_snapshot(tiny, case, late, tmp_path):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    before = bits(champion, own)
    learn(own, late)
    store = Snapshots(str(tmp_path))
    again, its, loaded = restored(tiny, case, store, {**own.state_dict(), **champion.state_dict()})
    assert set(loaded) - set(own.state_dict()) == {"champion"}
    assert its.state_dict() != {}
    assert bits(its, again) == before
    assert (its.weights.step, again.step) == (20, own.step)
    assert again.sha256() == own.sha256()
    if not late:  # but of two regressions it has only the student, in the teacher's place too
        assert loaded["champion"]["weights"] == {}
        assert filled(loaded["champion"]["strategy"]) == ({"weights"} if case == "ridge, unlabelled" else set())
    learn(again, LATE)
    assert bits(its, again) == before
    assert its.state_dict()["champion"].keys() == loaded["champion"].keys()


@every_case
def test_a_snapshot_has_no_such_part_while_it_follows(tiny, case, tmp_path):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    champion.follow()
    assert champion.state_dict() == {}
    again, its, _ = restored(tiny, case, Snapshots(str(tmp_path)), own.state_dict())
    assert its.state_dict() == {}
    assert bits(its, again) == bits(champion, own)


@every_case
def test_only_what_differs_is_written(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    learn(own, LATE)
    (part,) = champion.state_dict().values()
    moving = {key for key, each in own.model.named_parameters() if any(each is moved for moved in own.trained())}
    assert set(part["weights"]) <= moving
    assert {key.removeprefix("student_") for key in filled(part["strategy"])}.isdisjoint(UNREAD)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
@pytest.mark.parametrize("strategy", list(strategies))
def test_a_fine_tuned_checkpoint_is_held_before_its_first_label(tmp_path, kind, strategy):
    own = build(save(tmp_path / kind, kind), strategy, labels=["buy", "hold", "sell"])
    champion = Champion(own)
    before = bits(champion, own)
    champion.hold()
    learn(own, [sample._replace(label=("buy", "hold", "sell")[n % 3]) for n, sample in enumerate(EARLY)])
    assert bits(champion, own) == before
    assert champion.weights.step == 0


@every_case
def test_what_is_corrected_or_forgotten_leaves_what_is_held_alone(tiny, case):
    own, champion = begin(tiny, case)
    learn(own, EARLY)
    champion.hold()
    before = bits(champion, own)
    own.strategy.correct(EARLY[-1].id, 0, own.model.head.size)
    own.strategy.forget([sample.id for sample in EARLY[-20:-1]])
    assert bits(champion, own) == before


def test_the_trainable_top_of_what_is_held_hooks_and_grafts_its_own_encoder(tiny):
    own, champion = begin(tiny, "dual, always rehearsed")
    learn(own, EARLY)
    champion.hold()
    held = champion.weights.model
    assert held.branch is not own.model.branch
    with held.branch.grafted():
        grafted = held.backbone.encoder.layer[-1]
        assert grafted is held.branch.layers[-1]
        assert own.model.backbone.encoder.layer[-1] is not own.model.branch.layers[-1]
    assert held.backbone.encoder.layer[-1] is not grafted
