"""Checks from the topics alone what became of each event: a stranger to streamlearn, which it does not import.

python -m tests.faults.audit BOOTSTRAP_SERVERS NAME EVENTS_TOPIC [LABELS_TOPIC]
"""

import hashlib
import json
import struct
import sys
from collections import Counter
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Message, TopicPartition

Place = tuple[str, int, int]


class Verdict(NamedTuple):
    """What was found: counts, and everything that is wrong."""

    events: int
    predictions: int
    repeated: int
    outcomes: dict[str, int]
    starts: int
    wrong: list[str]


def read(address: str, topic: str) -> list[Message]:
    """Return every committed record of a topic, by partition and offset."""
    settings = {
        "bootstrap.servers": address,
        "group.id": "audit",
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "earliest",
    }
    consumer = Consumer(settings)
    partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    records: list[Message] = []
    open_ = set(partitions)
    while open_:
        for message in consumer.consume(1000, 1.0):
            if message.error() is None:
                records.append(message)
            else:
                open_.discard(message.partition())
    consumer.close()
    return sorted(records, key=lambda message: (message.partition(), message.offset()))


def digest(records: list[Message]) -> str:
    """Return what a range's digest is defined as."""
    found = hashlib.sha256()
    for record in records:
        key, value = record.key(), record.value()
        lengths = (-1 if each is None else len(each) for each in (key, value))
        found.update(struct.pack(">qii", record.offset(), *lengths) + (key or b"") + (value or b""))
    return found.hexdigest()


def counting(journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what a learner wrote after another had started, or just before that, unseen by it."""
    kept: list[dict[str, Any]] = []
    for record in journal:
        if kept and record["incarnation"] < kept[-1]["incarnation"]:
            continue
        while kept and kept[-1]["seq"] >= record["seq"]:
            kept.pop()
        kept.append(record)
    return kept


def audit(address: str, name: str, topic: str, labels: str | None = None) -> Verdict:  # noqa: C901, PLR0912 - one check after the other
    """Return what became of each record of the events topic, and of the labels topic where there is one."""
    wrong: list[str] = []
    events = {
        (each, record.partition() or 0, record.offset() or 0): record
        for each in ([topic] if labels is None else [topic, labels])
        for record in read(address, each)
    }
    journal = counting([json.loads(each.value() or b"") for each in read(address, f"{name}.journal")])
    if [record["seq"] for record in journal] != list(range(len(journal))):
        wrong.append("the journal's numbers do not rise by one")

    made: Counter[Place] = Counter()
    for message in read(address, f"{name}.predictions"):
        source = json.loads(message.value() or b"")["source"]
        made[source["topic"], source["partition"], source["offset"]] += 1
    dead: Counter[Place] = Counter()
    for message in read(address, f"{name}.dead-letters"):
        headers: dict[str, Any] = dict(message.headers() or [])
        where, partition, offset = (
            headers[f"streamlearn.{part}"].decode() for part in ("topic", "partition", "offset")
        )
        dead[where, int(partition), int(offset)] += 1

    letters: dict[Place, str] = {}
    for record in journal:
        if record["kind"] != "batch":
            continue
        at = 0
        for where, partition, start, end, count, sha256 in record["ranges"]:
            range_ = [events[where, partition, o] for o in range(start, end) if (where, partition, o) in events]
            if (len(range_), digest(range_)) != (count, sha256):
                wrong.append(f"record {record['seq']}: {where}[{partition}] {start} to {end} holds other records")
            for message, letter in zip(range_, record["taken"][at : at + count], strict=True):
                place = (where, partition, message.offset() or 0)
                if place in letters:
                    wrong.append(f"{place} was taken twice")
                letters[place] = letter
            at += count
    waited = {_id(events[place]) for place, letter in letters.items() if letter == "w"}
    for place, message in events.items():
        if (letter := letters.get(place)) is None:
            wrong.append(f"{place} was never taken")
        elif letter == "d":
            wrong += [] if (dead[place], made[place]) == (1, 0) else [f"{place} is no single dead letter"]
        elif place[0] == labels:
            wrong += [] if letter in "lpwscx" and not made[place] else [f"{place} is a label, and {letter}"]
        elif letter.isupper():
            wrong += [] if not made[place] else [f"{place} came again, and was predicted again"]
        else:
            has_label = json.loads(message.value() or b"").get("label") is not None or _id(message) in waited
            wrong += [] if made[place] >= 1 else [f"{place} has no prediction"]
            wrong += [] if has_label == (letter != "-") else [f"{place} has a label and no outcome, or the reverse"]
    outcomes = journal[-1]["outcomes"] if journal else {}
    handed = Counter(letter.lower() for letter in letters.values())
    handed.update("".join(record["taken"] for record in journal if record["kind"] == "warm"))
    told = {"probe": "p", "duplicate": "s", "correction": "c", "expired": "x"}
    for outcome, letter in told.items():
        if outcomes.get(outcome, 0) != handed[letter]:
            wrong.append(f"{handed[letter]} labels are {outcome}, and {outcomes.get(outcome, 0)} were counted")
    learned = sum(count for outcome, count in outcomes.items() if outcome not in {*told, "orphan"})
    if learned > handed["l"]:
        wrong.append(f"{learned} labels were learned, and {handed['l']} were there")
    starts = sum(record["kind"] == "start" for record in journal)
    taken = sum(place[0] == topic for place in events)
    return Verdict(taken, len(made), made.total() - len(made), outcomes, starts, wrong)


def _id(message: Message) -> str | None:
    try:
        return str(json.loads(message.value() or b"").get("id"))
    except (ValueError, AttributeError):
        return None


if __name__ == "__main__":
    verdict = audit(*sys.argv[1:5])
    print(json.dumps(verdict._asdict(), indent=1))  # noqa: T201 - its result
    sys.exit(bool(verdict.wrong))
