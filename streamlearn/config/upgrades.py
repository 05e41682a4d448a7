"""Upgrades: a learner that goes on keeps the defaults that it began with, where a later version has others."""

import copy
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

from streamlearn.config.settings import Settings, check
from streamlearn.config.sources import put

log = logging.getLogger(__name__)

# Defaults of earlier versions, by setting, the newest first. Of a setting that is new: what was done before there was
# one. A default that changes, or a new setting that learning depends on, is entered here; a test asks for it.
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
    kept: dict[str, Any] = {}
    for name, defaults in former.items():
        if name in recorded and recorded[name] not in defaults:
            continue
        if not settings.is_given(tuple(name.split("."))):
            kept[name] = recorded.get(name, defaults[0])
    if not kept:
        return settings
    log.info("kept as this learner began: %s", ", ".join(f"{name}: {value}" for name, value in kept.items()))
    data, origins = copy.deepcopy(dict(settings.data)), dict(settings.origins)
    for name, value in kept.items():
        where = tuple(name.split("."))
        put(data, where, value, name)
        origins[where] = "the journal"
    return check(data, origins, settings.secrets)
