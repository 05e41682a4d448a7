"""The object of `--json`: what the service counted and measured, since the start of its life and in this run."""

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamlearn.observability.catalogue import SHOWN
from streamlearn.observability.figures import Entry, Figure

if TYPE_CHECKING:
    from streamlearn.service.loop import Service

TOLD = tuple(each for each in SHOWN if each.summary is not None)
COUNTS = tuple(each for each in TOLD if each.rises or (isinstance(each, Entry) and each.kind == "counter"))


def counts(service: "Service") -> dict[str, Any]:
    """Return what counts up, by its key: at the beginning of a run, `summary` takes it off at the end."""
    return {str(each.summary): _value(each, service) for each in COUNTS}


def summary(service: "Service", since: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the object: totals of the service's life, and under `this_run` the same of a run.

    Args:
        service: what is told of; it must not learn meanwhile, since the digest of its weights is taken.
        since: the counts when the run began; None: with the service's life.
    """
    now = counts(service)
    others = {
        **{str(each.summary): _value(each, service) for each in TOLD if each not in COUNTS},
        "weights_sha256": service.learner.sha256(),
        "seconds": time.monotonic() - service.lifecycle.started_at,
        "stage_seconds": service.stages.seconds(),
        "device": str(service.learner.model.device),
    }
    return {**now, **others, "this_run": {**_rise(now, since or {}), **others}}


def _value(figure: Entry | Figure, service: "Service") -> Any:  # noqa: ANN401 - any JSON value
    reading = figure.read(service)
    if isinstance(reading, Mapping):
        return reading if isinstance(figure, Entry) and figure.known else sum(reading.values())
    return reading if math.isfinite(reading) else None


def _rise(now: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Subtract the counts before. What a counter holds and did not happen in between is left out there."""
    result: dict[str, Any] = {}
    for key, value in now.items():
        if isinstance(value, Counter):
            result[key] = value - before.get(key, Counter())
        elif isinstance(value, Mapping):
            result[key] = _rise(value, before.get(key, {}))
        else:
            result[key] = value - before.get(key, 0)
    return result
