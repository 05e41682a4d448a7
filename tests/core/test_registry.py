"""A family knows its components without loading them, and those of others as well as ours."""

import sys

import pytest

from streamlearn.config.components import COMPONENTS
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import ComponentSpec, Config, Own, Registry

PLACE = "tests.core.parts:Part"


class PartConfig(Config):
    size: int = 1


class Other:
    class Config(Config):
        """Nothing to set."""

    heavy = False

    def __init__(self, config, *rest):
        self.config, self.rest = config, rest


@pytest.fixture
def family():
    sys.modules.pop("tests.core.parts", None)
    return Registry("part", {"own": Own(PLACE, PartConfig, {"heavy": True})})


def loaded():
    return "tests.core.parts" in sys.modules


def test_a_component_is_loaded_when_it_is_made(family):
    assert list(family) == ["own"]
    assert family.config(ComponentSpec(name="own", size=2)) == PartConfig(size=2)
    assert family.fact("own", "heavy") is True
    assert not loaded()
    made = family.build(ComponentSpec(name="own", size=3), "more")
    assert loaded()
    assert (made.config.size, made.rest) == (3, ("more",))


def test_a_fact_that_is_not_told_is_asked_of_the_class(family):
    assert family.fact("own", "light") is False
    assert loaded()


def test_a_class_of_others_registers(family):
    family.register("other")(Other)
    assert list(family) == ["other", "own"]
    assert type(family.build(ComponentSpec(name="other"))) is Other
    assert family.fact("other", "heavy") is False


def test_for_a_while(family):
    with family.registered("other", Other):
        assert family.cls("other") is Other
    assert list(family) == ["own"]


def test_what_is_not_there_is_told_with_the_nearest(family):
    with pytest.raises(ConfigError, match="no part named 'owm'; did you mean 'own'") as caught:
        family.settings("owm")
    assert caught.value.where == "part.name"
    assert "own" in caught.value.mend


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package that has these entry points, as far as Python can tell."""

    def install(**points):
        metadata = tmp_path / "parts-1.0.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: parts\nVersion: 1.0\n")
        lines = [f"{name} = {place}\n" for name, place in points.items()]
        (metadata / "entry_points.txt").write_text("".join(["[streamlearn.part]\n", *lines]))
        monkeypatch.syspath_prepend(tmp_path)

    return install


def test_entry_points_add_and_do_not_replace(family, install):
    install(own=f"{__name__}:Other", theirs=f"{__name__}:Other")
    assert list(family) == ["own", "theirs"]
    assert family.cls("theirs") is Other
    assert family.settings("own") is PartConfig


def test_a_package_that_is_broken_is_told_by_its_name_and_only_who_chooses_it_is_refused(family, install):
    install(broken="no_such_package:Part")
    assert list(family) == ["broken", "own"]
    assert family.settings("own") is PartConfig
    for _ in range(2):
        with pytest.raises(ConfigError, match="'broken' cannot be loaded: ModuleNotFoundError") as caught:
            family.config(ComponentSpec(name="broken"))
        assert "no_such_package:Part" in caught.value.where


OURS = [(family, name) for family in dict.fromkeys(COMPONENTS.values()) for name in family._own]


@pytest.mark.parametrize(("family", "name"), OURS, ids=[f"{family.family} {name}" for family, name in OURS])
def test_what_our_families_tell_is_what_the_classes_are(family, name):
    own, cls = family._own[name], family.cls(name)
    assert issubclass(own.config, cls.Config)
    assert {fact: getattr(cls, fact) for fact in own.facts} == dict(own.facts)
