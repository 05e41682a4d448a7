"""Erasure: an id that is to be forgotten leaves whatever is stored by id."""

from collections.abc import Sequence

from streamlearn.learning.learner import Learner
from streamlearn.service.measures import Measures


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
