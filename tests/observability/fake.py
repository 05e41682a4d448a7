"""A service without broker and model, for what looks at services: its figures are whatever a test sets."""

import math
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np

from streamlearn.core.timing import Stages
from streamlearn.evaluation.drift.monitor import Reading
from streamlearn.service.lifecycle import Lifecycle
from streamlearn.service.totals import Totals
from streamlearn.stream.events import Event, Prediction
from streamlearn.stream.transport import Place, TopicPartition

SIGNALS = (
    ("adwin", "error"),
    ("page-hinkley", "loss"),
    ("mmd", "embedding"),
    ("ks", "confidence"),
    ("js", "label"),
    ("kswin", "unknown_tokens"),
    ("kswin", "novelty"),
)
INTENTS = [
    "card arrival",
    "card lost",
    "refund",
    "transfer failed",
    "balance",
    "exchange rate",
    "top up",
    "pin blocked",
    "verify identity",
    "close account",
    "fees",
    "direct debit",
    "cash withdrawal",
    "contactless",
    "statement",
    "limits",
    "joint account",
    "interest",
    "loan",
    "mortgage",
    "savings",
    "app crash",
    "password reset",
    "fraud report",
    "address change",
    "wrong amount",
    "pending payment",
    "cheque",
    "beneficiary",
    "travel abroad",
    "age limit",
    "apple pay",
    "virtual card",
    "disposable card",
    "delivery time",
    "top up reverted",
    "atm support",
    "country support",
]


class Probes:
    def __init__(self):
        self.forgetting = self.backward_transfer = self.forward_transfer = self.negative_flip_ratio = math.nan
        self.by_label, self.forgotten, self.numbers = {}, {}, {}

    def accuracy(self):
        return self.by_label

    def class_forgetting(self):
        return self.forgotten

    def counts(self):
        return self.numbers


class Monitor:
    def __init__(self):
        self.now, self.called = [], Counter()

    def readings(self):
        return self.now

    def totals(self):
        return self.called


class Memory:
    capacity = 1000

    def __init__(self):
        self.by_label = {}

    def counts(self):
        return self.by_label


class FakeService:
    """What the status page reads of a service, and the metrics that it shows."""

    def __init__(self, *, show_payloads=False, max_labels=200, events="support-tickets", labels=None):
        self.now = 1_764_000_000.0
        topics = SimpleNamespace(
            events=events, labels=labels, predictions="support.predictions", dead_letters="support.dead-letters"
        )
        self.root = SimpleNamespace(
            name="support",
            kafka=SimpleNamespace(topics=topics),
            model=SimpleNamespace(name="sentence-transformers/all-MiniLM-L6-v2"),
            task=SimpleNamespace(name="sequence-classification"),
            strategy=SimpleNamespace(name="er"),
            metrics=SimpleNamespace(max_labels=max_labels, window=1000),
            limits=SimpleNamespace(progress_seconds=120),
            web=SimpleNamespace(show_payloads=show_payloads),
        )
        self.totals, self.stages = Totals(), Stages()
        figures = {"kappa": math.nan}
        measured = ("accuracy", "total_accuracy", "coverage", "answered_accuracy", "loss", "calibration_error")
        prequential = SimpleNamespace(count=0, figures=lambda: figures, **dict.fromkeys(measured, math.nan))
        self.learner = SimpleNamespace(
            step=0,
            waiting=[],
            memory=Memory(),
            task=SimpleNamespace(groups=[]),
            model=SimpleNamespace(device="cpu"),
        )
        self.measures = SimpleNamespace(prequential=prequential, probes=Probes(), monitor=Monitor())
        self.intake = SimpleNamespace(joiner=SimpleNamespace(pending={}, early={}))
        self.champion_step = 0
        self.lags = {TopicPartition(events, partition): 0 for partition in range(4)}
        self.source = SimpleNamespace(lag=lambda: self.lags, positions=lambda: self.lags)
        self.lifecycle = Lifecycle({})
        self.lifecycle.go_live()
        self.publisher = SimpleNamespace(commits=Counter())

    def clock(self):
        return self.now


class Answer:
    def __init__(self, predictions):
        self.predictions = predictions

    def judged(self, rows, targets):
        said = [self.predictions[row].label for row in rows]
        return SimpleNamespace(errors=[float(each != target) for each, target in zip(said, targets, strict=True)])


def turn(events=(), predictions=(), detections=()):
    return SimpleNamespace(events=events, predictions=predictions, answer=Answer(predictions), detections=detections)


def row(text, label, predicted, score=0.9):
    place = Place("support-tickets", 0, 7)
    event = Event("secret-id", text, label, 0.0, {}, place, 0.0, has_own_id=True)
    top = () if predicted is None else ((predicted, score),)
    shown = None if predicted is None else score
    return event, Prediction("secret-id", predicted, shown, top, predicted is None, None, 1, 1, place)


def story(service, dashboard, seconds=900, *, drift_at=0.62):
    """Tell the dashboard a stream: classes come, accuracy climbs, the world drifts, and the model learns again."""
    rng = np.random.default_rng(7)
    labels, totals, probes = service.learner.task.groups, service.totals, service.measures.probes
    service.publisher.commits["committed"] += 1
    accuracy, called = 0.1, False
    for second in range(seconds):
        part = second / seconds
        service.now += 1
        drifting = drift_at <= part < drift_at + 0.08
        if len(labels) < min(len(INTENTS), 6 + int(80 * part)):
            labels.append(INTENTS[len(labels)])
            accuracy -= 0.015
        accuracy += (0.93 - accuracy) * 0.012 - (0.016 if drifting else 0) + rng.normal(0, 0.003)
        came = int(rng.normal(180, 22) * (0.5 if drifting else 1)) + 40
        totals.events += came
        totals.predictions.update({label: came // len(labels) for label in labels})
        service.measures.prequential.count += came // 2
        if rng.random() < 0.02:
            totals.dead_letters[str(rng.choice(["invalid-json", "missing-input", "too-large"]))] += 1
        service.measures.prequential.accuracy = service.measures.prequential.total_accuracy = min(accuracy, 0.99)
        service.measures.prequential.figures()["kappa"] = accuracy - 0.03
        service.learner.step = service.champion_step = second * 6
        service.learner.memory.by_label = {n: 1000 // len(labels) - n % 5 for n in range(len(labels))}
        for n, label in enumerate(labels):
            probes.numbers[label] = 4 + second // 40
            probes.by_label[label] = float(np.clip(accuracy + 0.12 * math.sin(3 * n), 0, 1))
            probes.forgotten[label] = max(0.0, 0.05 * math.sin(2.1 * n) + (0.06 if part > drift_at else 0))
        if second > 60:
            probes.forgetting = sum(probes.forgotten.values()) / len(labels)
            probes.backward_transfer = -probes.forgetting / 2
        service.lags = {place: int(rng.integers(0, 40)) * (6 if drifting else 1) for place in service.lags}
        swing = 1 + 0.25 * math.sin(second / 40)
        service.measures.monitor.now = [
            Reading(*signal, abs(0.22 + 0.03 * n + rng.normal(0, 0.03)) * swing + drifting * (0.3 + 0.12 * n), 1.0)
            for n, signal in enumerate(SIGNALS)
        ]
        found = [reading for reading in service.measures.monitor.now if reading.statistic > reading.threshold]
        if found and not called:
            called = True
            service.measures.monitor.called.update((each.detector, each.signal) for each in found)
        else:
            found = []
        text = f"where is my money, I asked {second} times about {labels[second % len(labels)]}"
        wrong = second % 6 == 0
        pair = row(text, labels[second % len(labels)] if second % 5 else None, labels[(second + wrong) % len(labels)])
        dashboard.observe(turn([pair[0]], [pair[1]], found))
    shares = {
        "wait": 210,
        "learn": 380,
        "predict": 140,
        "commit": 31,
        "probe": 62,
        "decode": 6,
        "drift": 22,
        "encode": 4,
    }
    for stage, spent in shares.items():
        service.stages.add(stage, float(spent))
    service.lifecycle.turned_at = time.monotonic()
    service.lifecycle.started_at = time.monotonic() - seconds
