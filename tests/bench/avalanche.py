"""Our strategies beside Avalanche's: `./dev bench avalanche --peer DIR [--strategies A,B] [--seeds 0,1,2] [--limit N]`.

`er`, `derpp` and `slda` learn CLINC150 in groups of classes that come one after the other, and so do the peer's own
classes: `Naive` with `ReplayPlugin` on `ReservoirSamplingBuffer`, `DER` (with a beta it is DER++), and `StreamingLDA`.
Both sides have the same encoder and tokens, samples in the same order and in the same batches of 16, one pass, a memory
of 1,000, 16 rehearsed samples a step (`derpp` draws 16 twice, as its paper does; the peer's `DER` uses one draw for
both of its losses), the same optimizer, learning rates and gradient clipping, the same alpha and beta, and no word of
where a group ends: the peer gets an online stream of experiences of one batch each. All else is each side's default.
`--set` of the model and the learner holds for both sides, of anything else for ours alone.

What differs: the peer's head has a row for every class from the start, at zero. Ours grows, and a new class's row
begins as `learner.new_class` says, which `--set learner.new_class=zeros` makes alike. `StreamingLDA` reads the same
features as our `slda`, at unit length; with `--raw` as they are pooled.

Avalanche stays out of the project's environment. It and what it needs go into a folder, which `--peer` or
STREAMLEARN_AVALANCHE names:

    .venv/bin/pip install --quiet --dry-run --report - avalanche-lib==0.6.0 |
      .venv/bin/python -c 'import json, sys
    for each in json.load(sys.stdin)["install"]: print("{name}=={version}".format(**each["metadata"]))' |
      xargs .venv/bin/pip install --no-deps --target DIR
"""

import argparse
import importlib
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from streamlearn.commands.evaluate.command import Request, planned
from streamlearn.commands.evaluate.examiner import Exam
from streamlearn.commands.evaluate.one_pass import Job, Lap
from streamlearn.core.batch import IntArray, Tokens, pad
from streamlearn.learning.config import LearnerConfig
from streamlearn.learning.learner import freeze
from streamlearn.learning.strategies.derpp import DERpp
from streamlearn.model.loading import load
from streamlearn.model.model import Model
from tests.bench.accuracy import read, write

STRATEGIES = ("er", "derpp", "slda")
MEMORY = 1000
ASKED = 512  # test samples at once


class Result(NamedTuple):
    """The final accuracy in %, and the seconds of learning."""

    accuracy: float
    seconds: float


def planned_job(strategy: str, seed: int, given: argparse.Namespace, folder: Path) -> Job:
    """Plan our evaluation. The test set has the classes that come in the stream."""
    source = Path(os.environ["STREAMLEARN_DATA"]) / "clinc150"
    train, test = read(next(source.glob("train.jsonl*"))), read(source / "test.jsonl")
    kept = set(sorted({row["label"] for row in train})[: given.classes])
    files = [
        write(folder / f"{name}.jsonl", [row for row in rows if row["label"] in kept])
        for name, rows in (("train", train), ("test", test))
    ]
    request = Request(
        files[0], files[1], strategies=[strategy], memory=MEMORY, order="class-incremental", groups=given.groups,
        seeds=[seed], sets=given.sets, limit=given.limit,
    )  # fmt: skip
    (job,) = planned(request)
    assert job.exam is not None
    come = {row.label for row in chain(*job.stream.parts)}
    rows = [row for row in zip(*job.exam, strict=True) if row[1] in come]
    texts, truth, misspelt = zip(*rows, strict=True)
    return replace(job, exam=Exam(texts, np.array(truth, object), misspelt))


def ours(job: Job) -> Result:
    """Let the stream pass through the service."""
    lap = Lap(job, threading.Event(), lambda _: None, asks=False)
    lap.go()
    assert lap.examiner is not None
    return Result(100 * float(lap.examiner.right().mean()), lap.seconds)


class Classifier(nn.Module):
    """The encoder with a head of all classes, on rows of a length and so many token ids."""

    def __init__(self, encoder: Model, classes: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.width, classes)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.encoder.features(unpacked(rows)))
        return scores


class Features(nn.Module):
    """What our `slda` reads."""

    def __init__(self, encoder: Model, *, raw: bool) -> None:
        super().__init__()
        self.encoder, self.raw = encoder, raw

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features = self.encoder.features(unpacked(rows)).float()
        return features if self.raw else functional.normalize(features, dim=1)


def packed(texts: Sequence[IntArray], width: int) -> torch.Tensor:
    """Put tokens into rows: a length, so many ids, and zeros up to the width."""
    tokens = pad(texts)
    rows = np.zeros((len(tokens), 1 + width), np.int64)
    rows[:, 0], rows[:, 1 : 1 + tokens.ids.shape[1]] = tokens.lengths, tokens.ids
    return torch.from_numpy(rows)


def unpacked(rows: torch.Tensor) -> Tokens:
    values = rows.cpu().numpy()
    return Tokens(values[:, 1:], values[:, 0])


class Peer:
    """Avalanche, out of its folder: its classes run as they are.

    Args:
        folder: where it was installed, if not among our packages.
    """

    def __init__(self, folder: str | None) -> None:
        if folder:
            sys.path.append(folder)  # at the end: what both have is ours
        with warnings.catch_warnings(record=True):
            self.avalanche = importlib.import_module("avalanche")
            self.benchmarks, self.scenarios, self.data, self.metrics, self.plugins, self.storage, self.strategies = map(
                self._part,
                (
                    "benchmarks", "benchmarks.scenarios", "benchmarks.utils.classification_dataset",
                    "evaluation.metrics", "training.plugins", "training.storage_policy", "training.supervised",
                ),
            )  # fmt: skip

    @staticmethod
    def _part(name: str) -> ModuleType:
        return importlib.import_module(f"avalanche.{name}")

    def run(self, job: Job, *, raw: bool) -> Result:
        """Let the stream pass through the peer's strategy.

        1. The encoder and the tokens, as our service would have them.
        2. One experience of the whole stream, cut in its order into experiences of one batch.
        3. The strategy learns them one after the other, and is asked at the end.
        """
        root = job.settings.root
        encoder = load(root.model, dropout=root.learner.dropout)  # 1
        freeze(encoder, root.learner)
        assert job.exam is not None
        rows = list(chain(*job.stream.parts))
        labels = sorted({str(row.label) for row in rows})
        number = {label: at for at, label in enumerate(labels)}
        texts, _ = encoder.tokenize([str(row.text) for row in rows])
        asked, _ = encoder.tokenize(job.exam.texts)
        width = max(map(len, chain(texts, asked)))
        benchmark = self.benchmarks.benchmark_from_datasets(  # 2
            train=[self._dataset(packed(texts, width), [number[str(row.label)] for row in rows])],
            test=[self._dataset(packed(asked, width), [number[label] for label in job.exam.truth.tolist()])],
        )
        stream = self.scenarios.split_online_stream(
            benchmark.train_stream, root.learner.batch_size, shuffle=False, access_task_boundaries=False, seed=0
        )
        random.seed(job.seed)  # 3
        torch.manual_seed(job.seed)
        strategy = self._strategy(job, encoder, len(labels), raw=raw)
        start = time.perf_counter()
        strategy.train(stream, eval_streams=[])
        seconds = time.perf_counter() - start
        found = strategy.eval(benchmark.test_stream)
        (accuracy,) = (value for name, value in found.items() if name.startswith("Top1_Acc_Stream/eval"))
        return Result(100 * accuracy, seconds)

    def _dataset(self, rows: torch.Tensor, labels: list[int]) -> Any:
        # No other of its ways to make a data set gives the task labels, all 0, that its strategies unpack.
        make = self.data._make_taskaware_tensor_classification_dataset
        return make(rows, torch.tensor(labels), task_labels=[0] * len(labels))

    def _strategy(self, job: Job, encoder: Model, classes: int, *, raw: bool) -> Any:
        root = job.settings.root
        usual: dict[str, Any] = {
            "train_mb_size": root.learner.batch_size,
            "eval_mb_size": ASKED,
            "evaluator": self.plugins.EvaluationPlugin(self.metrics.accuracy_metrics(stream=True)),
            "criterion": nn.CrossEntropyLoss(),
            "device": str(encoder.device),
        }
        if job.strategy == "slda":
            features = Features(encoder, raw=raw)
            return self.strategies.StreamingLDA(
                slda_model=features, input_size=encoder.width, num_classes=classes, **usual
            )
        classifier = Classifier(encoder, classes)
        usual |= {"model": classifier, "optimizer": optimizer(root.learner, classifier)}
        if job.strategy == "derpp":
            weights = DERpp.Config().model_dump()
            return self.strategies.DER(mem_size=MEMORY, batch_size_mem=root.learner.replay_size, **weights, **usual)
        replay = self.plugins.ReplayPlugin(
            MEMORY,
            batch_size=root.learner.batch_size,
            batch_size_mem=root.learner.replay_size,
            storage_policy=self.storage.ReservoirSamplingBuffer(MEMORY),
        )
        return self.strategies.Naive(plugins=[replay], **usual)


def optimizer(config: LearnerConfig, classifier: Classifier) -> torch.optim.Optimizer:
    """Return what our learner has, which cuts the gradient's norm before each step."""
    assert (config.optimizer, config.steps_per_batch) == ("adamw", 1), "the peer has no other here"
    body = [each for each in classifier.encoder.backbone.parameters() if each.requires_grad]
    head = list(classifier.head.parameters())
    groups = [{"params": body, "lr": config.learning_rate}, {"params": head, "lr": config.head_learning_rate}]
    made = torch.optim.AdamW(groups, weight_decay=config.weight_decay, fused=True)

    def clip(*_: object) -> None:
        nn.utils.clip_grad_norm_([*body, *head], config.clip_norm)

    made.register_step_pre_hook(clip)
    return made


def row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=os.environ.get("STREAMLEARN_AVALANCHE"))
    parser.add_argument("--strategies", default=",".join(STRATEGIES))
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--classes", type=int, default=None, help="so many of the 150, the first by name")
    parser.add_argument("--groups", type=int, default=10)
    parser.add_argument("--limit", type=int, default=None, help="so many samples, and the classes that came by then")
    parser.add_argument("--raw", action="store_true", help="StreamingLDA reads features as they are pooled")
    parser.add_argument("--set", action="append", default=[], dest="sets")
    parser.add_argument("--json", type=Path, default=None)
    given = parser.parse_args()
    try:
        peer = Peer(given.peer)
    except ImportError as error:
        where = f"in {given.peer}" if given.peer else "without --peer DIR"
        sys.stderr.write(f"avalanche-lib is not found {where}: {error} -> --help says how to install it\n")
        sys.exit(2)
    found = []
    print(f"avalanche-lib {peer.avalanche.__version__}\n")
    print(row(("strategy", "seed", "samples", "ours", "theirs", "difference", "seconds, ours", "theirs")))
    print(row(["---"] * 8), flush=True)
    for strategy in given.strategies.split(","):
        gaps = []
        for seed in map(int, given.seeds.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                job = planned_job(strategy, seed, given, Path(folder))
            own = ours(job)
            with warnings.catch_warnings(record=True):  # its deprecations, with every step
                other = peer.run(job, raw=given.raw)
            gaps.append(own.accuracy - other.accuracy)
            accuracies = (f"{own.accuracy:.2f}", f"{other.accuracy:.2f}", f"{gaps[-1]:+.2f}")
            times = (f"{own.seconds:.0f}", f"{other.seconds:.0f}")
            print(row((strategy, seed, f"{job.stream.size:,}", *accuracies, *times)), flush=True)
            found.append({"strategy": strategy, "seed": seed, "ours": own._asdict(), "theirs": other._asdict()})
            if given.json is not None:
                given.json.write_text(json.dumps(found, indent=1))
        spread = f"{statistics.mean(gaps):+.2f} ({min(gaps):+.2f} to {max(gaps):+.2f})"
        print(row((strategy, "mean", "", "", "", spread, "", "")), flush=True)


if __name__ == "__main__":
    main()
