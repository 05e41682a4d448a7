"""`streamlearn run`: puts a service together from its configuration, and looks after the process around it."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from streamlearn.commands.process import lock, lock_folder, signals
from streamlearn.config.ignored import ignored
from streamlearn.config.settings import load as load_settings
from streamlearn.core.garbage import spared
from streamlearn.core.logs import setup as setup_logs
from streamlearn.durability import failpoints
from streamlearn.observability.status import Dashboard
from streamlearn.observability.summary import counts, summary
from streamlearn.observability.web import serve
from streamlearn.service.assembly import assemble
from streamlearn.service.broker import reach
from streamlearn.service.connections import Connections, connected
from streamlearn.service.loop import Service
from streamlearn.service.turn import Limits, Turn

log = logging.getLogger(__name__)

REPORT_SECONDS = 10.0


def run(config: Path, sets: Sequence[str], limits: Limits, *, json_output: bool) -> None:
    """Run the service of a configuration file until it is told to stop, or `limits` end it.

    1. Check the configuration, and keep a second run out.
    2. Ask the broker for the topics, take over from the last learner, and read where it stopped: what is quick to fail
       comes before the model is loaded.
    3. Load the model and serve /metrics.
    4. Go back to where the last learner stopped, turn the loop, and write a last snapshot.
    5. Say what was done.

    Raises:
        StreamlearnError: says where, what and how to mend it.
    """
    settings = load_settings(config, sets)  # 1
    root = settings.root
    setup_logs(root.logs.format, root.logs.level)
    failpoints.from_environment(os.environ)
    for line in ignored(root):
        log.warning("%s", line)
    with ExitStack() as stack:
        stack.enter_context(lock(lock_folder(root.snapshots.path, root.name)))
        stop = threading.Event()
        stack.enter_context(signals(stop.set))
        broker = stack.enter_context(reach(settings))  # 2
        connections = stack.enter_context(connected(settings, broker))
        service = assemble(connections.settings, connections.source, connections.outlet, stop=stop)  # 3
        if connections.recovery is not None:
            # Counters are not shown before they are complete.
            service.lifecycle.recover(connections.recovery.found.batches)
        dashboard = Dashboard(service)
        if root.metrics.enabled:
            address = stack.enter_context(serve(service, root.metrics.host, root.metrics.port, dashboard))
            log.info("status page on %s, metrics on %s/metrics", address, address)
        since = live(service, connections, dashboard, limits)  # 4
        told = summary(service, since)  # 5
    if json_output:
        sys.stdout.write(json.dumps(told) + "\n")


def live(service: Service, connections: Connections, dashboard: Dashboard, limits: Limits) -> dict[str, Any]:
    """Go back to where the last learner stopped, turn the loop, and write a last snapshot.

    Returns what was counted when the past was restored: what came after it is this run's.

    Raises:
        FencedError: another learner has taken over, whichever commit found it out.
        StreamlearnError: anything else; a restart may go on.
    """
    with connections.fenced_or_not():
        restored = connections.restore(service)
        since = counts(service)
        if not restored or not connections.warm_up(service):
            return since
        topics = service.root.kafka.topics
        log.info(
            "reading %s (%d partitions); predictions go to %s",
            " and ".join(topics.inputs),
            len(service.source.positions()),
            topics.predictions,
        )
        report = Reporter(service)
        dashboard.begin()

        def look(turn: Turn) -> None:
            report(turn)
            dashboard.observe(turn)

        with spared():
            service.run(limits, look)
        report.say()
        if service.keeper is not None:
            service.keeper.save(service.clock())
    return since


class Reporter:
    """Says every few seconds how far the stream is; and at once what a newcomer waits for.

    Args:
        service: what is reported on.
        seconds: between two lines.
    """

    def __init__(self, service: Service, seconds: float = REPORT_SECONDS) -> None:
        self.service, self.seconds = service, seconds
        self._said_at = time.monotonic()
        self._said_events = service.totals.events  # those of an earlier run say nothing of this one's speed
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
        accuracy = service.measures.prequential.accuracy
        state = (
            f"{totals.events:,} events, {len(service.learner.task.groups)} labels known, "
            f"step {service.learner.step:,}, {waiting(service)}"
            + (f", accuracy {accuracy:.1%}" if service.measures.prequential.count else "")
            + (f", {totals.dead_letters.total()} dead letters" if totals.dead_letters else "")
        )
        if state != self._said:
            log.info("%s, %.0f events/s", state, (totals.events - self._said_events) / max(seconds, 1e-9))
            self._said = state
        self._said_at, self._said_events = time.monotonic(), totals.events


def waiting(service: Service) -> str:
    """Say how full the next batch is: "3 of 16 labels waiting"."""
    return f"{len(service.learner.waiting)} of {service.root.learner.batch_size} labels waiting"
