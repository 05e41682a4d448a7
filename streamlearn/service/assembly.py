"""Puts a service together from its configuration."""

import logging
import threading
import time
from collections.abc import Callable

from streamlearn.config.settings import Settings
from streamlearn.core.timing import Stages
from streamlearn.durability.publisher import Publisher
from streamlearn.evaluation.drift.class_distance import Novelty
from streamlearn.evaluation.drift.monitor import Monitor
from streamlearn.evaluation.prequential import Prequential
from streamlearn.evaluation.probes import Probes
from streamlearn.learning.learner import Learner
from streamlearn.learning.memory.buffer import ReplayMemory
from streamlearn.learning.memory.family import policies, retrievals
from streamlearn.learning.penalties.family import penalties
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.loading import load as load_model
from streamlearn.model.tasks.base import Task
from streamlearn.model.tasks.family import tasks
from streamlearn.service.intake import Intake
from streamlearn.service.loop import Service
from streamlearn.service.measures import Measures
from streamlearn.serving.champion import Champion
from streamlearn.serving.predictor import ServedModel
from streamlearn.stream.decoders import EventDecoder
from streamlearn.stream.fields import KEY
from streamlearn.stream.joiner import Joiner
from streamlearn.stream.time_ordered import TimeOrdered
from streamlearn.stream.transport import Outlet, Source

log = logging.getLogger(__name__)


def assemble(
    settings: Settings,
    source: Source,
    outlet: Outlet,
    *,
    clock: Callable[[], float] = time.time,
    timer: Callable[[], float] | None = None,
    stop: threading.Event | None = None,
    max_steps: int | None = None,
) -> Service:
    """Make the service: model, task, memory, strategy, learner and predictor of the configuration.

    Learning stops after `max_steps`, or after as many as `learner.max_steps` says if those are fewer. `clock` and
    `timer` are those of `Service`.
    """
    root = settings.root
    most = [steps for steps in (root.learner.max_steps, max_steps) if steps is not None]
    learns = root.learner.model_copy(update={"max_steps": min(most, default=None)})
    stages = Stages()
    log.info("loading %s", root.model.name)
    model = load_model(root.model, dropout=root.learner.dropout)
    task: Task = tasks.build(root.task)
    if model.labels:
        task.known_from(model.labels)
    memory = ReplayMemory(
        root.memory.capacity,
        model.max_length,
        model.vocabulary_size,
        policies.build(root.memory.policy),
        retrievals.build(root.memory.retrieval),
        max_outputs=root.limits.labels,
        column=task.column,
    )
    strategy = strategies.build(root.strategy)
    correctable = root.joiner.correction_window if root.kafka.topics.labels is not None else 0
    forgettable = root.joiner.correction_window if root.fields.id == KEY else correctable
    learner = Learner(
        learns,
        model,
        task,
        strategy,
        memory,
        seed=root.seed,
        stages=stages,
        correctable=forgettable,
        penalties=[penalties.build(spec) for spec in root.penalties],
    )
    decoder = EventDecoder(
        root.fields,
        task.targets(root.limits.labels),
        max_bytes=root.limits.record_bytes,
    )
    predictor = ServedModel(Champion(learner), task, top_k=root.serving.top_k, stages=stages)
    measures = Measures(
        Prequential(root.metrics.window, task, task.measure()),
        Probes(root.probes, task, seed=root.seed),
        Monitor(root.drift.watched()) if root.drift.enabled else None,
        Novelty(root.limits.labels),
        memory=memory,
        served=predictor,
        stages=stages,
        abstain_below=root.serving.abstain_below,
        correctable=min(correctable, root.metrics.window),
    )
    joiner = Joiner(
        root.joiner,
        task,
        vocabulary_size=model.vocabulary_size,
        waits=root.kafka.topics.labels is not None,
    )
    log.info("%s on %s, %s, %d labels known", root.model.name, model.device, str(model.dtype)[6:], len(task.groups))
    return Service(
        root,
        source=TimeOrdered(source, root.limits.read_ahead),
        publisher=Publisher(outlet, root.kafka.topics.journal),
        intake=Intake(decoder, joiner, root.kafka.topics.labels),
        predictor=predictor,
        learner=learner,
        measures=measures,
        stages=stages,
        clock=clock,
        timer=timer,
        stop=stop,
    )
