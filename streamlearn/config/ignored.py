"""Settings that were given, and have no effect as the others stand."""

from collections.abc import Iterable
from pathlib import Path

from streamlearn.config.tree import Root
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies

DESCENT = {
    "steps_per_batch", "optimizer", "learning_rate", "head_learning_rate", "weight_decay", "momentum", "clip_norm",
    "dropout", "new_class",
}  # fmt: skip


# Whether settings are of no use as the others stand, their section ("" is the top), which ones, and what is told.
Rule = tuple[bool, str, Iterable[str], str]


def ignored(root: Root) -> list[str]:
    """Name the settings that were given but have no effect as the others stand, each once."""
    told: dict[str, str] = {}
    for useless, name, keys, reason in (*_by_the_strategy(root), *_by_another(root)):
        section = getattr(root, name) if name else root
        for key in sorted(section.model_fields_set.intersection(keys)) if useless else ():
            told.setdefault(f"{name}.{key}" if name else key, reason)
    return [f"{name}: {reason}" for name, reason in told.items()]


def _by_the_strategy(root: Root) -> list[Rule]:
    """Return what the strategy may have no use for."""
    named = f"ignored with strategy {root.strategy.name!r}"
    rehearses, descends, frozen = (
        strategies.fact(root.strategy.name, fact) for fact in ("rehearses", "descends", "frozen")
    )
    held = bool(root.penalties)
    stores = rehearses or any(penalties.fact(spec.name, "remembers") for spec in root.penalties)
    replays = rehearses and descends and root.learner.replay_size
    still, no_gradient = f"{named}, whose encoder stands still", f"{named}, which descends no gradient"
    closed_form = f"{named}, whose closed form answers for a new class"
    return [
        (not rehearses, "learner", {"replay_size"}, f"{named}, which does not rehearse"),
        (not stores, "memory", {"capacity", "policy"}, f"{named}, which stores nothing"),
        (not replays, "memory", {"retrieval"}, "ignored, since nothing is rehearsed"),
        (held and not descends, "", {"penalties"}, no_gradient),
        (held and frozen, "", {"penalties"}, still),
        (frozen and descends, "learner", {"new_class"}, closed_form),
        (frozen, "learner", {"freeze", "frozen_layers", "train_embeddings"}, still),
        (not descends, "learner", DESCENT, no_gradient),
    ]


def _by_another(root: Root) -> list[Rule]:
    """Return what another setting may leave without effect."""
    learner, drift, model = root.learner, root.drift, root.model
    whole = learner.freeze == "layers" and not learner.frozen_layers
    unused = bool(learner.frozen_layers) and learner.freeze != "layers"
    fixed = learner.train_embeddings and learner.freeze != "none"
    local = model.name.startswith("package:") or Path(model.name).expanduser().is_dir()
    late, unserved = {"ttl", "capacity", "correction_window"}, "ignored while metrics.enabled is false"
    frozen = f"ignored while learner.freeze is {learner.freeze!r}"
    return [
        (unused, "learner", {"frozen_layers"}, f"{frozen}; set it to 'layers'"),
        (whole, "learner", {"freeze"}, "'layers' freezes only the embeddings while learner.frozen_layers is 0"),
        (learner.optimizer != "sgd", "learner", {"momentum"}, "ignored with learner.optimizer 'adamw'"),
        (fixed, "learner", {"train_embeddings"}, frozen),
        (not root.label_requests.budget, "label_requests", {"at_random"}, "ignored while label_requests.budget is 0"),
        (root.kafka.topics.labels is None, "joiner", late, "ignored while kafka.topics.labels is not set"),
        (not drift.enabled, "drift", drift.watched(), "ignored while drift.enabled is false"),
        (not root.metrics.enabled, "metrics", {"host", "port"}, unserved),
        (not root.metrics.enabled, "web", type(root.web).model_fields, unserved),
        (local and model.revision is not None, "model", {"revision"}, "ignored, since model.name is not a hub id"),
    ]
