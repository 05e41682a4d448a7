"""Settings that were given, and have no effect as the others stand."""

from pathlib import Path

from streamlearn.config.tree import Root
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies

DESCENT = {
    "steps_per_batch", "optimizer", "learning_rate", "head_learning_rate", "weight_decay", "momentum", "clip_norm",
    "dropout", "new_class",
}  # fmt: skip


def ignored(root: Root) -> list[str]:
    """Name the settings that were given but have no effect as the others stand."""
    found = []
    learner = root.learner
    if learner.frozen_layers and learner.freeze != "layers":
        found.append(f"learner.frozen_layers: ignored while learner.freeze is {learner.freeze!r}; set it to 'layers'")
    if learner.freeze == "layers" and not learner.frozen_layers:
        found.append("learner.freeze: 'layers' freezes only the embeddings while learner.frozen_layers is 0")
    if "momentum" in learner.model_fields_set and learner.optimizer != "sgd":
        found.append("learner.momentum: ignored with learner.optimizer 'adamw'")
    if learner.train_embeddings and learner.freeze != "none":
        found.append(f"learner.train_embeddings: ignored while learner.freeze is {learner.freeze!r}")
    if "at_random" in root.label_requests.model_fields_set and not root.label_requests.budget:
        found.append("label_requests.at_random: ignored while label_requests.budget is 0")
    found += _by_the_strategy(root)
    if root.kafka.topics.labels is None:
        told = sorted({"ttl", "capacity", "correction_window"} & root.joiner.model_fields_set)
        found += [f"joiner.{each}: ignored while kafka.topics.labels is not set" for each in told]
    if root.model.revision and (root.model.name.startswith("package:") or Path(root.model.name).is_dir()):
        found.append("model.revision: ignored, since model.name is not a hub id")
    return found


def _by_the_strategy(root: Root) -> list[str]:
    named = f"strategy {root.strategy.name!r}"
    rehearses, descends, frozen = (
        strategies.fact(root.strategy.name, fact) for fact in ("rehearses", "descends", "frozen")
    )
    held = root.penalties
    found = []
    if not rehearses and "replay_size" in root.learner.model_fields_set:
        found.append(f"learner.replay_size: ignored with {named}, which does not rehearse")
    given = root.memory.model_fields_set
    if "policy" in given and not (rehearses or any(penalties.fact(spec.name, "remembers") for spec in held)):
        found.append(f"memory.policy: ignored with {named}, which stores nothing")
    if "retrieval" in given and not (rehearses and descends and root.learner.replay_size):
        found.append("memory.retrieval: ignored, since nothing is rehearsed")
    if held and not descends:
        found.append(f"penalties: ignored with {named}, which descends no gradient")
    elif held and frozen:
        found.append(f"penalties: ignored with {named}, whose encoder stands still")
    learner = root.learner.model_fields_set
    if frozen and descends and "new_class" in learner:
        found.append(f"learner.new_class: ignored with {named}, whose closed form answers for a new class")
    if frozen:
        told = sorted({"freeze", "frozen_layers", "train_embeddings"} & learner)
        found += [f"learner.{each}: ignored with {named}, whose encoder stands still" for each in told]
    if not descends:
        told = sorted(DESCENT & learner)
        found += [f"learner.{each}: ignored with {named}, which descends no gradient" for each in told]
    return found
