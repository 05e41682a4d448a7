"""`streamlearn run`: puts a service together from its configuration, and looks after the process around it."""

import fcntl
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from streamlearn.drift import Monitor, Novelty
from streamlearn.errors import ConfigError, RunningError
from streamlearn.evaluation import Prequential
from streamlearn.events import EventDecoder
from streamlearn.learner import Learner
from streamlearn.logs import setup as setup_logs
from streamlearn.measures import Measures
from streamlearn.memory import ReplayMemory, policies
from streamlearn.model import load as load_model
from streamlearn.predictor import ServedModel
from streamlearn.probes import Probes
from streamlearn.service import Limits, Service, Turn
from streamlearn.settings import Settings, ignored
from streamlearn.settings import load as load_settings
from streamlearn.stages import Stages
from streamlearn.state import Dashboard
from streamlearn.strategies import strategies
from streamlearn.tasks import Task, tasks
from streamlearn.transport.base import Outlet, Source
from streamlearn.transport.embedded import EmbeddedBroker
from streamlearn.transport.kafka import KafkaSettings, KafkaSource
from streamlearn.transport.kafka_admin import Admin
from streamlearn.transport.kafka_outlet import KafkaOutlet
from streamlearn.web import serve

log = logging.getLogger(__name__)

REPORT_SECONDS = 10.0


def run(config: Path, sets: Sequence[str], limits: Limits, *, json_output: bool) -> None:
    """Run the service of a configuration file until it is told to stop, or `limits` end it.

    1. Check the configuration, and keep a second run out.
    2. Ask the broker for the topics, before the model is loaded: what is quick to fail comes first.
    3. Load the model, and serve /metrics.
    4. Turn the loop.
    5. Say what was done.

    Raises:
        StreamlearnError: says where, what and how to mend it.
    """
    settings = load_settings(config, sets)  # 1
    root = settings.root
    setup_logs(root.logs.format, root.logs.level)
    for line in ignored(root):
        log.warning("%s", line)
    with ExitStack() as stack:
        stack.enter_context(lock(Path(root.snapshots.path)))
        stop = threading.Event()
        stack.enter_context(signals(stop.set))
        broker = stack.enter_context(reach(settings))  # 2
        source, outlet = stack.enter_context(connected(settings, broker))
        service = assemble(settings, source, outlet, stop=stop)  # 3
        dashboard = Dashboard(service)
        if root.metrics.enabled:
            address = stack.enter_context(serve(service, root.metrics.host, root.metrics.port, dashboard))
            log.info("status page on %s, metrics on %s/metrics", address, address)
        log.info(
            "reading %s (%d partitions); predictions go to %s",
            root.kafka.topics.events,
            len(source.positions()),
            root.kafka.topics.predictions,
        )
        log.warning(
            "what is learned lives in this process: after a restart the model begins anew, where the group stopped"
        )
        report = Reporter(service)

        def look(turn: Turn) -> None:
            report(turn)
            dashboard.observe(turn)

        service.run(limits, look)  # 4
        report.say()
        summary = service.summary()  # 5
    if json_output:
        sys.stdout.write(json.dumps(summary) + "\n")


def assemble(
    settings: Settings,
    source: Source,
    outlet: Outlet,
    *,
    clock: Callable[[], float] = time.time,
    stop: threading.Event | None = None,
) -> Service:
    """Make the service: model, task, memory, strategy, learner and predictor of the configuration."""
    root = settings.root
    stages = Stages()
    log.info("loading %s", root.model.name)
    model = load_model(root.model, dropout=root.learner.dropout)
    task: Task = tasks.build(root.task)
    if model.labels:
        task.known_from(model.labels)
    memory = ReplayMemory(
        root.memory.capacity, model.max_length, model.vocabulary_size, policies.build(root.memory.policy)
    )
    strategy = strategies.build(root.strategy)
    learner = Learner(root.learner, model, task, strategy, memory, seed=root.seed, stages=stages)
    decoder = EventDecoder(
        root.fields,
        labels=task.labels,
        closed=task.labels.closed,
        max_labels=root.limits.labels,
        max_bytes=root.limits.record_bytes,
    )
    predictor = ServedModel(model, task, top_k=root.serving.top_k, stages=stages)
    measures = Measures(
        Prequential(root.metrics.window),
        Probes(root.probes, seed=root.seed),
        Monitor(root.drift.watched()) if root.drift.enabled else None,
        Novelty(root.limits.labels),
        memory=memory,
        served=predictor,
        labels=task.labels,
        stages=stages,
    )
    log.info("%s on %s, %s, %d labels known", root.model.name, model.device, str(model.dtype)[6:], len(task.labels))
    return Service(
        root,
        source=source,
        outlet=outlet,
        decoder=decoder,
        predictor=predictor,
        learner=learner,
        measures=measures,
        stages=stages,
        clock=clock,
        stop=stop,
    )


class Reporter:
    """Says every few seconds how far the stream is; and at once what a newcomer waits for.

    Args:
        service: what is reported on.
        seconds: between two lines.
    """

    def __init__(self, service: Service, seconds: float = REPORT_SECONDS) -> None:
        self.service, self.seconds = service, seconds
        self._said_at = time.monotonic()
        self._said_events = 0
        self._said = ""

    def __call__(self, turn: Turn) -> None:
        """Look at a turn; say a line if it is time."""
        first = bool(turn.updates) and self.service.learner.step <= len(turn.updates)
        quick = self.service.totals.events < self.service.root.learner.batch_size  # typed by hand: answer at once
        if first or quick or time.monotonic() - self._said_at >= self.seconds:
            self.say()

    def say(self) -> None:
        """Say where the service stands, if anything changed."""
        service, totals = self.service, self.service.totals
        seconds = time.monotonic() - self._said_at
        accuracy = service.prequential.accuracy
        state = (
            f"{totals.events:,} events, {len(service.learner.task.labels)} labels known, "
            f"step {service.learner.step:,}, {waiting(service)}"
            + (f", accuracy {accuracy:.1%}" if service.prequential.count else "")
            + (f", {totals.dead_letters.total()} dead letters" if totals.dead_letters else "")
        )
        if state != self._said:
            log.info("%s, %.0f events/s", state, (totals.events - self._said_events) / max(seconds, 1e-9))
            self._said = state
        self._said_at, self._said_events = time.monotonic(), totals.events


def waiting(service: Service) -> str:
    """Say how full the next batch is: "3 of 16 labels waiting"."""
    return f"{len(service.learner.waiting)} of {service.root.learner.batch_size} labels waiting"


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep a second run with the same state folder out, as long as the block runs.

    Raises:
        RunningError: another run has it.
        ConfigError: the folder cannot be written.
    """
    path = folder / "lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise ConfigError(
            f"cannot write there: {error.strerror}",
            where=f"snapshots.path: {folder}",
            mend="name a folder that this user may write, with snapshots.path or --set snapshots.path=/path/to/it",
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise RunningError(
                f"another run with this name is on (process {file.read().strip() or 'unknown'})",
                where=str(path),
                mend="stop it first, or give this one another name",
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


@contextmanager
def signals(stop: Callable[[], Any]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT; a second SIGINT does not wait for the batch.

    Raises:
        KeyboardInterrupt: SIGINT came after a signal before it.
    """
    stopping = False
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, _: object) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stopping:
            stopping = True
            log.info("%s: finishing the batch", signal.Signals(number).name)
            stop()

    for number in old:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextmanager
def reach(settings: Settings) -> Iterator[str]:
    """Yield the broker's address, with the topics in order: an embedded broker is started, missing topics are made.

    Raises:
        ConfigError: the events topic does not exist; names the nearest one.
        BrokerError: the broker does not answer.
    """
    kafka = settings.root.kafka
    names = (kafka.topics.predictions, kafka.topics.dead_letters)
    if kafka.bootstrap_servers == "embedded":
        with EmbeddedBroker() as broker:
            broker.ensure_topics((kafka.topics.events, *names))
            log.info("embedded broker on %s: it forgets everything at the end", broker.bootstrap_servers)
            yield broker.bootstrap_servers
        return
    client = client_settings(settings, kafka.bootstrap_servers)
    admin = Admin(client)
    partitions = admin.partitions_of(kafka.topics.events)
    if kafka.create_topics:
        if made := admin.ensure(names, partitions):
            log.info("created %s", ", ".join(made))
    else:
        for name in names:
            admin.partitions_of(name)
    yield kafka.bootstrap_servers


@contextmanager
def connected(settings: Settings, bootstrap_servers: str) -> Iterator[tuple[KafkaSource, KafkaOutlet]]:
    """Yield the source of events and the outlet of predictions."""
    client = client_settings(settings, bootstrap_servers)
    source = KafkaSource(
        client, [settings.root.kafka.topics.events], stall_seconds=settings.root.limits.stalled_seconds
    )
    try:
        topics = settings.root.kafka.topics
        outlet = KafkaOutlet(client, source, topics=(topics.predictions, topics.dead_letters))
        try:
            # A restart before the first batch then begins at the same place, also with `start: latest`.
            source.commit(source.positions())
            yield source, outlet
        finally:
            outlet.close()
    finally:
        source.close()


def client_settings(settings: Settings, bootstrap_servers: str) -> KafkaSettings:
    """Return the part of the configuration that reaches the broker."""
    kafka = settings.root.kafka
    return KafkaSettings(
        bootstrap_servers,
        client=kafka.client,
        group=kafka.group_id,
        start=kafka.start,
        connect_timeout=settings.root.limits.connect_seconds,
    )
