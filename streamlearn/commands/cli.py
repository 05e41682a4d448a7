"""The command line. A command imports what it needs when it runs: `produce` and `tail` start without torch."""

import os
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from streamlearn.core.errors import StreamlearnError
from streamlearn.core.threads import spin_briefly, told

if TYPE_CHECKING:
    from streamlearn.core.logs import Level

app = typer.Typer(
    name="streamlearn",
    help="The Kafka consumer that lets a Transformers model move along with the world.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
config_app = typer.Typer(help="Show, check and describe a configuration.", no_args_is_help=True)
app.add_typer(config_app, name="config")
dashboards_app = typer.Typer(help="Grafana dashboards and Prometheus rules.", no_args_is_help=True)
app.add_typer(dashboards_app, name="dashboards")

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="The YAML file.", show_default=False)]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="A.B=VALUE", help="Set a value over file and environment; may be given often."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")]
Bootstrap = Annotated[str, typer.Option("--bootstrap-servers", metavar="HOST:PORT", help="The broker.")]
INTERRUPTED = 130  # the exit code of who was stopped with Ctrl-C


@app.command(epilog="Example: streamlearn run support.yaml --set learner.batch_size=32")
def run(
    config: ConfigFile,
    sets: Sets = None,
    until_idle: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="End once nothing came for so long, at the topic's end."),
    ] = None,
    max_events: Annotated[int | None, typer.Option(metavar="N", min=0, help="End after so many events.")] = None,
    json_output: Json = False,
) -> None:
    """Predict every event of the topic, learn from its label, publish the prediction.

    SIGTERM and SIGINT finish the batch, commit, and exit with 0.
    """
    _log()
    from streamlearn.commands.run import run as run_service
    from streamlearn.service.turn import Limits

    run_service(config, sets or [], Limits(max_events, until_idle), json_output=json_output)


@app.command(epilog="Example: streamlearn demo --events 2000")
def demo(
    scenario: Annotated[str, typer.Option(metavar="NAME", help="The story that is told.")] = "support",
    events: Annotated[int, typer.Option(metavar="N", min=200, help="Length of the stream.")] = 1200,
    headless: Annotated[bool, typer.Option("--headless", help="Lines instead of a live view.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Go on after the stream, for events that you produce.")] = False,
    json_output: Json = False,
) -> None:
    """See it work: a broker inside this process, a generated stream with new classes and drift, and a live view."""
    _log("warning")
    from streamlearn.commands.demo.command import run as run_demo

    run_demo(scenario, events, headless=headless, keep=keep, json_output=json_output)


@app.command(epilog="Example: streamlearn produce events.jsonl --topic support-tickets --key id")
def produce(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="JSON lines, or CSV with a header, also .gz; - reads JSON lines.")
    ],
    topic: Annotated[str, typer.Option(metavar="T", help="The topic to write to.", show_default=False)],
    bootstrap_servers: Bootstrap = "localhost:9092",
    rate: Annotated[
        float | None, typer.Option(metavar="R", min=0.001, help="Events a second; as fast as it goes if not given.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="FIELD", help="The field whose value becomes the record's key.")
    ] = None,
) -> None:
    """Write a file's lines to a topic, one record a line. Lines go as they are: the learner judges them."""
    _log("warning")
    from streamlearn.commands.produce import produce as produce_file

    produce_file(file, topic, bootstrap_servers, rate=rate, key=key)


@app.command(epilog="Example: streamlearn tail support.predictions --from-beginning --json")
def tail(
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic to read.")],
    bootstrap_servers: Bootstrap = "localhost:9092",
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Start at the first record, not at the end.")
    ] = False,
    max_messages: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after so many records.")] = None,
    json_output: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Read a topic as it grows: committed records only."""
    _log("warning")
    from streamlearn.commands.tail import tail as tail_topic

    try:
        tail_topic(
            topic, bootstrap_servers, from_beginning=from_beginning, max_messages=max_messages, json_output=json_output
        )
    except BrokenPipeError:  # `streamlearn tail ... | head` has what it wanted; typer would call it a failure
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command(epilog="Example: streamlearn evaluate --train train.jsonl --test test.jsonl --strategy er,finetune")
def evaluate(  # noqa: PLR0917 - typer passes options by name
    train: Annotated[
        str,
        typer.Option(metavar="FILE", help="What is learned from: JSON lines or CSV, also .gz.", show_default=False),
    ],
    test: Annotated[str | None, typer.Option(metavar="FILE", help="What is asked, and never learned.")] = None,
    strategy: Annotated[
        str | None, typer.Option(metavar="A,B", help="Strategies, side by side; the configuration's if not given.")
    ] = None,
    memory: Annotated[int | None, typer.Option(metavar="N", min=1, help="Samples that are kept.")] = None,
    order: Annotated[
        str, typer.Option(metavar="ORDER", help="as-is, iid, or class-incremental: classes come in groups.")
    ] = "as-is",
    groups: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Groups of classes; 10, or as many as there are classes.")
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="0,1", help="Of the order and of all that is drawn.")] = "0",
    sets: Sets = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The pre-trained model.")] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="CONFIG", help="A YAML file whose settings hold beneath all others.")
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="The stream's first N samples alone.")] = None,
    label_noise: Annotated[
        float | None,
        typer.Option(metavar="SHARE", min=0, max=1, help="Learn once more with so many wrong labels (a fraction)."),
    ] = None,
    label_efficiency: Annotated[
        bool, typer.Option("--label-efficiency", help="Find out how many labels a new class needs; takes time.")
    ] = False,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="OUT", help="Write all figures there; - prints them.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="OUT", help="Write a report with plots there.")] = None,
) -> None:
    """Pass a labelled file through the service, without a broker: each strategy with each seed, side by side.

    Every sample is predicted before it is learned. Ctrl-C ends with what is done so far.
    """
    _log("warning")
    from streamlearn.commands.evaluate.command import Request
    from streamlearn.commands.evaluate.command import evaluate as evaluate_file

    evaluate_file(
        Request(
            train=train,
            test=test,
            strategies=tuple(dict.fromkeys(name.strip() for name in (strategy or "").split(",") if name.strip())),
            memory=memory,
            order=order,
            groups=groups,
            seeds=_seeds(seeds),
            sets=sets or (),
            model=model,
            config=config,
            limit=limit,
            label_noise=label_noise,
            label_efficiency=label_efficiency,
            json=json_file,
            html=html,
        )
    )


@app.command(epilog="Example: streamlearn replay support.yaml --to-step 1200 --export audit")
def replay(  # noqa: PLR0917 - typer passes options by name
    config: ConfigFile,
    sets: Sets = None,
    to_step: Annotated[int | None, typer.Option(metavar="N", min=0, help="Stop at this step of the learner.")] = None,
    verify: Annotated[
        bool,
        typer.Option("--verify", help="Compare with every published prediction and every digest."),
    ] = False,
    folder: Annotated[
        Path | None, typer.Option("--export", metavar="DIR", help="Write the model there, as `export` does.")
    ] = None,
    json_output: Json = False,
) -> None:
    """Rebuild a past model from snapshots and journal. It only reads, and may run beside the learner."""
    _log("info")
    from streamlearn.commands.replay import replay as replay_journal

    replay_journal(config, sets or [], to_step=to_step, verify=verify, folder=folder, json_output=json_output)


Snapshot = Annotated[
    str,
    typer.Argument(metavar="SNAPSHOT", help="A snapshot; of a folder of them, the newest.", show_default=False),
]


@app.command(epilog="Example: streamlearn inspect state/support --json")
def inspect(
    snapshot: Snapshot,
    sample_id: Annotated[str | None, typer.Option("--id", metavar="ID", help="Say where this event is stored.")] = None,
    json_output: Json = False,
) -> None:
    """Say what is in a snapshot: step, labels, memory, offsets, and what made it."""
    _log("error")
    from streamlearn.commands.inspect import inspect as inspect_snapshot

    inspect_snapshot(snapshot, sample_id=sample_id, json_output=json_output)


@app.command(epilog="Example: streamlearn export state/support my-model")
def export(
    snapshot: Snapshot,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; new or empty.", show_default=False)],
) -> None:
    """Write a snapshot's model as a folder that Transformers' `from_pretrained` opens."""
    _log("error")
    from streamlearn.commands.export import export as export_snapshot

    for name in export_snapshot(snapshot, folder):
        typer.echo(folder / name)


@config_app.command("show", epilog="Example: streamlearn config show support.yaml")
def config_show(config: ConfigFile, sets: Sets = None) -> None:
    """Print the whole effective configuration, each value with where it comes from. Secrets are hidden."""
    from streamlearn.config.settings import load

    settings = load(config, sets or [])
    typer.echo(settings.show())
    typer.echo(f"# {told(settings.root.model.threads)}")


@config_app.command("check", epilog="Example: streamlearn config check support.yaml")
def config_check(config: ConfigFile, sets: Sets = None) -> None:
    """Check a configuration without starting anything."""
    from streamlearn.config.ignored import ignored
    from streamlearn.config.settings import load
    from streamlearn.stream.labelled_files import WarmFile

    settings = load(config, sets or [])
    for line in ignored(settings.root):
        typer.echo(f"warning: {line}", err=True)
    if settings.root.warm_start is not None:
        WarmFile(settings.root.warm_start)  # says what is wrong with it
    typer.echo(f"{config}: in order")


@config_app.command("schema", epilog="Example: streamlearn config schema > config.schema.json")
def config_schema(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CONFIG]", help="Not needed: the schema is one for all.")
    ] = None,
) -> None:
    """Print the JSON Schema of the configuration file."""
    _log("warning")
    import json

    from streamlearn.config.schema import schema

    del config
    typer.echo(json.dumps(schema(), indent=2))


@dashboards_app.command("export", epilog="Example: streamlearn dashboards export monitoring")
def dashboards_export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where to; made if missing.", show_default=False)],
) -> None:
    """Write the dashboards as JSON and the rules as YAML, for a Grafana and a Prometheus of your own."""
    from streamlearn.commands.dashboards import export

    for path in export(folder):
        typer.echo(path)


@app.command(epilog="Example: streamlearn doctor support.yaml --fix")
def doctor(
    config: ConfigFile,
    sets: Sets = None,
    fix: Annotated[bool, typer.Option("--fix", help="Create the topics that are missing.")] = False,
) -> None:
    """Check broker, topics, model, folder and port: a line each, with the mend. Exits 1 if one is not in order."""
    _log("error")
    from streamlearn.commands.doctor import examine

    raise typer.Exit(examine(config, sets or [], fix=fix))


def main() -> NoReturn:
    """Run the command line: one message for an error, never a traceback; exit codes as the contract has them."""
    spin_briefly()
    try:
        app()  # which tells of a wrong call by itself, and exits
    except SystemExit as end:  # typer's, which says nothing of Ctrl-C
        if end.code == INTERRUPTED:
            _say("stopped")
        raise
    except StreamlearnError as error:
        _say(f"error: {error}")
        code = error.exit_code
    except Exception as error:  # noqa: BLE001 - the last resort: a bug is reported, not thrown at the user
        handle, path = tempfile.mkstemp(prefix="streamlearn-", suffix=".log", text=True)
        with os.fdopen(handle, "w") as file:
            traceback.print_exc(file=file)
        _say(
            f"error: a bug in streamlearn, or in what it stands on: {_brief(error)}\n  -> please report it with {path}"
        )
        code = 1
    else:
        code = 0
    sys.exit(code)


def _brief(error: Exception) -> str:
    """Return the error's kind, and the first line that it says; what follows is in the report."""
    said = str(error).strip().partition("\n")[0]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


def _seeds(text: str) -> tuple[int, ...]:
    """Read "0,1" as numbers, each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise typer.BadParameter("seeds are whole numbers with commas between them, such as 0,1", param_hint="--seeds")
    return tuple(dict.fromkeys(map(int, parts)))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _log(level: "Level" = "info") -> None:
    """Log to standard error, ours from `level` on, other libraries' warnings."""
    from streamlearn.core.logs import setup

    setup(level=level)
