"""Upgrades: a learner that goes on keeps the defaults that it began with, where a later version has others."""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from streamlearn.config.components import at, places
from streamlearn.config.settings import Settings, check
from streamlearn.config.sources import Where, put

log = logging.getLogger(__name__)

# Defaults of earlier versions, by setting, the newest first. Of a setting that is new: what was done before there was
# one. A component's own setting has its name before it: `strategy.derpp.alpha`, `penalties.ewc.strength`. A default
# that changes, or a new setting that learning depends on, is entered here; a test asks for it.
FORMER: Final[Mapping[str, Sequence[Any]]] = {}


def as_begun(settings: Settings, recorded: Mapping[str, Any], former: Mapping[str, Sequence[Any]] = FORMER) -> Settings:
    """Return the settings with the defaults that a learner began with, where the user says nothing.

    With `{"learner.batch_size": [16]}` as `former`, a learner whose start recorded 16 keeps 16, though the default is
    32 now; one that recorded another value, which somebody had set, takes 32.

    Args:
        settings: as they were read.
        recorded: the configuration in the journal's last start, by dotted name.
        former: the defaults of earlier versions.

    Raises:
        ConfigError: a former default is not allowed any more.
    """
    for part in (_of_the_tree, _of_components):  # which components there are may be a former default too
        settings = _kept(settings, recorded, part(settings, recorded, former))
    return settings


def _of_the_tree(
    settings: Settings, recorded: Mapping[str, Any], former: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[Where, Sequence[Any]]]:
    """Yield each place of the tree that had another default, with those that it had."""
    del recorded
    families = {_family(path) for path in places(settings.root)}
    for name, defaults in former.items():
        where = tuple(name.split("."))
        if where[:-2] not in families:
            yield where, defaults


def _of_components(
    settings: Settings, recorded: Mapping[str, Any], former: Mapping[str, Sequence[Any]]
) -> Iterator[tuple[Where, Sequence[Any]]]:
    """Yield the same of the settings that components have of their own, where the learner began with them."""
    for path in places(settings.root):
        spec = at(settings.root, path)
        if spec is None or recorded.get(".".join((*path, "name"))) != spec.name:
            continue
        prefix = ".".join((*_family(path), spec.name, ""))
        for name, defaults in former.items():
            if name.startswith(prefix):
                yield (*path, name.removeprefix(prefix)), defaults


def _family(path: Where) -> Where:
    """Return a component's place without its number in a list."""
    return path[:-1] if path[-1].isdigit() else path


def _kept(settings: Settings, recorded: Mapping[str, Any], former: Iterator[tuple[Where, Sequence[Any]]]) -> Settings:
    kept: dict[Where, Any] = {}
    for where, defaults in former:
        name = ".".join(where)
        if (name not in recorded or recorded[name] in defaults) and not settings.is_given(where):
            kept[where] = recorded.get(name, defaults[0])
    if not kept:
        return settings
    told = ", ".join(f"{'.'.join(where)}: {value}" for where, value in kept.items())
    log.info("kept as this learner began: %s", told)
    data, origins = copy.deepcopy(dict(settings.data)), dict(settings.origins)
    for where, value in kept.items():
        if (path := where[:-1]) in settings.components and not settings.is_given((*path, "name")):
            put(data, (*path, "name"), at(settings.root, path).name, "the journal")
        put(data, where, value, "the journal")
        origins[where] = "the journal"
    return check(data, origins, settings.secrets)
