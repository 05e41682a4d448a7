"""A default that changed is a default for those who begin: who goes on keeps the one that the journal recorded."""

import json
from pathlib import Path

import pytest

from streamlearn.config import fingerprint
from streamlearn.config.components import COMPONENTS, at
from streamlearn.config.settings import check, load
from streamlearn.config.upgrades import FORMER, as_begun

DATA = Path(__file__).parent.parent / "data" / "upgrade-0.1.0"
MINIMAL = {
    "name": "support",
    "kafka": {"topics": {"events": "tickets"}},
    "model": {"name": "m"},
    "task": {"name": "sequence-classification"},
}
FORMERLY = {"learner.batch_size": [8], "strategy.name": ["er"], "memory.capacity": [500, 100], "limits.labels": [50]}


def kept(recorded, **given):
    root = as_begun(check({**MINIMAL, **given}), recorded, FORMERLY).root
    return root.learner.batch_size, root.strategy.name, root.memory.capacity, root.limits.labels


def test_a_default_that_was_recorded_is_kept():
    recorded = {"learner.batch_size": 8, "strategy.name": "er", "memory.capacity": 100, "limits.labels": 50}
    assert kept(recorded) == (8, "er", 100, 50)


def test_what_the_user_gives_counts_and_so_does_what_was_no_default():
    recorded = {"learner.batch_size": 8, "strategy.name": "er", "memory.capacity": 300, "limits.labels": 50}
    assert kept(recorded, learner={"batch_size": 32}, strategy="ridge") == (32, "ridge", 1000, 50)


def test_a_setting_that_was_not_there_is_as_nothing_was_there():
    recorded = {"learner.batch_size": 16, "strategy.name": "dual", "memory.capacity": 1000}
    assert kept(recorded) == (16, "dual", 1000, 50)


def test_it_is_told_where_a_value_is_from(caplog):
    caplog.set_level("INFO", logger="streamlearn")
    settings = as_begun(check(MINIMAL), {"learner.batch_size": 8, "strategy.name": "dual"}, FORMERLY)
    assert "batch_size: 8  # the journal" in settings.show()
    assert "kept as this learner began: learner.batch_size: 8" in caplog.text


PENALTY = {"penalties": [{"name": "lwf", "strength": 2.0}, "ewc"]}


@pytest.mark.parametrize(
    ("given", "recorded", "former", "want"),
    [
        ({"strategy": "derpp"}, {"strategy.name": "derpp", "strategy.alpha": 0.3}, "strategy.derpp.alpha", 0.3),
        ({"strategy": "derpp"}, {"strategy.name": "derpp"}, "strategy.derpp.alpha", 0.3),
        ({"strategy": {"name": "derpp", "alpha": 0.9}}, {"strategy.name": "derpp"}, "strategy.derpp.alpha", 0.9),
        ({"strategy": "derpp"}, {"strategy.name": "er"}, "strategy.derpp.alpha", None),
        ({"strategy": "er"}, {"strategy.name": "er"}, "strategy.derpp.alpha", None),
        ({"strategy": "er"}, {"strategy.name": "derpp", "strategy.alpha": 0.3}, "strategy.derpp.alpha", None),
        ({}, {"strategy.name": "dual", "strategy.ridge": 0.3}, "strategy.dual.ridge", 0.3),
        ({"penalties": ["lwf", "ewc"]}, {"penalties.1.name": "ewc"}, "penalties.ewc.strength", 0.3),
        (PENALTY, {"penalties.1.name": "ewc"}, "penalties.ewc.strength", 0.3),
        (PENALTY, {"penalties.0.name": "lwf"}, "penalties.lwf.strength", 2.0),
        (PENALTY, {"penalties.0.name": "ewc"}, "penalties.ewc.strength", None),
    ],
)
def test_a_components_own_setting_is_kept_where_the_learner_began_with_it(given, recorded, former, want):
    settings = check({**MINIMAL, **given})
    kept = as_begun(settings, recorded, {former: [0.3]})
    if want is None:
        assert kept is settings
    else:
        path, name = next((p, former.rpartition(".")[2]) for p, c in kept.components.items()
                          if at(kept.root, p).name == former.split(".")[-2])  # fmt: skip
        assert getattr(kept.components[path], name) == want


def test_a_components_own_setting_is_kept_of_a_component_that_was_a_default():
    kept = as_begun(check(MINIMAL), {"strategy.name": "derpp", "strategy.alpha": 0.3},
                    {"strategy.name": ["derpp"], "strategy.derpp.alpha": [0.3]})  # fmt: skip
    assert (kept.root.strategy.name, kept.components["strategy",].alpha) == ("derpp", 0.3)
    assert kept.root.learner == check(MINIMAL).root.learner


def test_without_anything_to_keep_the_settings_are_the_same():
    settings = check(MINIMAL)
    assert as_begun(settings, {"learner.batch_size": 4, "strategy.name": "ridge", "memory.capacity": 9,
                               "limits.labels": 9}, FORMERLY) is settings  # fmt: skip


@pytest.mark.parametrize("name", ["dual", "er"])
def test_every_default_that_is_not_0_1_0s_is_entered(name):
    """A change of a default, or a new setting that learning depends on, goes into `FORMER`: see there."""
    begun = json.loads((DATA / name / "expected.json").read_text(encoding="utf-8"))["configuration"]
    settings = load(DATA / name / "config.yaml", environment={})
    now = fingerprint.configuration(as_begun(settings, begun).root)
    assert {key: now[key] for key in begun if key in now} == {key: begun[key] for key in begun if key in now}
    assert sorted(now.keys() - begun.keys() - FORMER.keys()) == []


def test_every_component_begins_with_what_0_1_0_began_with_or_that_is_entered():
    """As above, of each component's own settings, also of those that no recorded configuration names."""
    begun = json.loads((DATA / "components.json").read_text(encoding="utf-8"))
    seen = set()
    for path, family in COMPONENTS.items():
        place = ".".join(path).removesuffix(".*")
        for name in family:
            own = begun.get(f"drift.{name}" if path[0] == "drift" else f"{place}.{name}")
            if own is None:
                continue  # nobody began with it
            seen.add((path[0], name))
            now = family.settings(name)().model_dump(mode="json")
            changed = {each for each in now if each not in own or own[each] != now[each]}
            assert {f"{place}.{name}.{each}" for each in changed} <= FORMER.keys()
    assert len(seen) == len(begun) - 1  # memory has two families, with one name in both
