"""What was learned is put right: a label that turned out to be wrong, and an id that is to be forgotten."""

from collections.abc import Mapping, Sequence

from streamlearn.core.target import Target
from streamlearn.learning.learner import Learner
from streamlearn.service.measures import Measures


def correct(corrections: Mapping[str, Target], learner: Learner, measures: Measures) -> None:
    """Give samples that were handed out in earlier batches other labels, by id, in order.

    1. What was served is measured against the new label, while the prequential window and
       `joiner.correction_window` have it.
    2. A probe moves to its new class. One that finds no room there leaves the probes, and is not learned.
    3. A sample that waits for a full batch is changed there.
    4. One that was learned is taken out of what has a closed form, with its old label, and in with the new one, while
       it is one of the last `joiner.correction_window`; and it is relabelled in the memory. What descended a gradient
       is not undone: rehearsal goes on with the new label. After `learner.max_steps` nothing changes any more.
    """
    for sample_id, label in corrections.items():
        measures.correct(sample_id, label)  # 1
        measures.probes.replace(sample_id, label)  # 2
        _relabel(learner, sample_id, label)


def erase(ids: Sequence[str], learner: Learner, measures: Measures) -> int:
    """Forget samples of earlier batches; return how many of them waited to be learned.

    What waits for a label is the joiner's, and was forgotten there.

    1. It is no probe any more, and what was said of it is kept no longer.
    2. It is not learned, where it waited for a full batch.
    3. It leaves the memory, and what has a closed form, while it is one of the last `joiner.correction_window`.

    What descended a gradient is not undone, nor are figures that were counted: no id stands in them.
    """
    ids = list(dict.fromkeys(ids))
    for sample_id in ids:
        measures.forget(sample_id)  # 1
    waited = learner.queue.remove(set(ids))  # 2
    learner.strategy.forget(ids)  # 3
    for sample_id in ids:
        learner.memory.remove(sample_id)
    return waited


def _relabel(learner: Learner, sample_id: str, label: Target) -> None:
    if learner.queue.relabel(sample_id, label) or learner.stopped:  # 3
        return
    if sample_id in learner.memory or sample_id in learner.strategy.recent:  # 4
        task, encoded = learner.task, learner.task.encode([label])
        learner.model.head.grow(task.outputs, learner.optimizer)
        group = int(task.group_numbers(encoded)[0])
        learner.strategy.correct(sample_id, group, task.outputs)
        learner.memory.relabel(sample_id, group, encoded[0])
