"""`streamlearn doctor`: one line for each thing that a run needs, with the mend where it is not in order."""

import errno
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from streamlearn.commands.process import lock, lock_folder
from streamlearn.config.ignored import ignored
from streamlearn.config.settings import Settings
from streamlearn.config.settings import load as load_settings
from streamlearn.core.errors import ConfigError, RunningError, StreamlearnError
from streamlearn.core.secrets import hidden
from streamlearn.core.threads import told
from streamlearn.durability.snapshots import Snapshots
from streamlearn.service.broker import JOURNAL, client_settings
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import missing
from streamlearn.stream.labelled_files import WarmFile


def examine(config: Path, sets: Sequence[str], *, fix: bool) -> int:
    """Print a line for each check; return 0 if all is in order, else 1.

    Raises:
        ConfigError: the configuration itself is wrong: nothing else can be checked.
    """
    settings = load_settings(config, sets)
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[green]ok  [/]  configuration  {escape(str(config))}")
    for line in ignored(settings.root):
        console.print(f"[yellow]note[/]  configuration  {escape(line)}")
    failed = 0
    checks: dict[str, Callable[[], str]] = {
        "broker": lambda: _broker(settings),
        "topics": lambda: _topics(settings, fix=fix),
        "model": lambda: _model(settings),
        "processors": lambda: told(settings.root.model.threads),
        **_state(settings),
        "metrics": lambda: _port(settings),
        **({"warm start": lambda: _warm_start(settings)} if settings.root.warm_start is not None else {}),
    }
    for name, check in checks.items():
        try:
            console.print(f"[green]ok  [/]  {name:13}  {escape(check())}")
        except StreamlearnError as error:
            failed += 1
            console.print(f"[red]FAIL[/]  {name:13}  ", end="")
            console.print(str(error).replace("\n", "\n" + " " * 19), markup=False)
    return 1 if failed else 0


def _broker(settings: Settings) -> str:
    servers = settings.root.kafka.bootstrap_servers
    if servers == "embedded":
        return "embedded: started with the run"
    return f"{servers} answers, {len(Admin(client_settings(settings, servers)).topics())} topics"


def _warm_start(settings: Settings) -> str:
    files = WarmFile(str(settings.root.warm_start)).files
    return ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if files[3:] else "")


def _topics(settings: Settings, *, fix: bool) -> str:
    kafka = settings.root.kafka
    names = (*kafka.topics.inputs, kafka.topics.predictions, kafka.topics.dead_letters, kafka.topics.journal)
    if kafka.bootstrap_servers == "embedded":
        return "made at the start of the run"
    client = client_settings(settings, kafka.bootstrap_servers)
    admin = Admin(client)
    known = admin.topics()
    absent = [name for name in names if name not in known]
    if absent and fix:
        made = admin.ensure([kafka.topics.journal], 1, JOURNAL)
        return f"created {', '.join([*admin.ensure(names, known.get(kafka.topics.events, 1)), *made])}"
    needed = [name for name in absent if name in kafka.topics.inputs or not kafka.create_topics]
    if needed:
        raise missing(needed, known, client)
    if kafka.topics.journal not in absent:
        _journal(admin, kafka.topics.journal)
    return ", ".join(names) + (f" ({', '.join(absent)} will be created)" if absent else "")


def _journal(admin: Admin, topic: str) -> None:
    """See that the journal keeps all that is written, in one order.

    Raises:
        ConfigError: it does not.
    """
    found = admin.describe(topic)
    wrong = [f"{key}={found.config[key]}" for key, value in JOURNAL.items() if found.config.get(key, value) != value]
    if found.partitions != 1:
        wrong.append(f"{found.partitions} partitions")
    if wrong:
        wanted = ", ".join(f"{name}={value}" for name, value in JOURNAL.items())
        raise ConfigError(
            f"the journal has {', '.join(wrong)}",
            where=f"the topic '{topic}'",
            mend=f"it needs one partition and {wanted}: change it, or name another topic as kafka.topics.journal",
        )


def _model(settings: Settings) -> str:
    from streamlearn.model.loading import load as load_model  # with torch and transformers, as late as can be

    model = load_model(settings.root.model)
    labels = f", fine-tuned for {len(model.labels)} labels" if model.labels else ""
    return f"{settings.root.model.name} on {model.device}, {str(model.dtype)[6:]}{labels}"


def _state(settings: Settings) -> dict[str, Callable[[], str]]:
    """Return the checks of where the state is kept: a URL is no folder that could be locked, so a local one is."""
    if "://" in settings.root.snapshots.path:
        return {"snapshots": lambda: _storage(settings), "lock": lambda: _folder(settings)}
    return {"folder": lambda: _folder(settings)}


def _storage(settings: Settings) -> str:
    path = settings.root.snapshots.path
    Snapshots(path).try_out()
    return f"{hidden(path)} can be listed, written, read and deleted from"


def _folder(settings: Settings) -> str:
    folder = lock_folder(settings.root.snapshots.path, settings.root.name)
    try:
        with lock(folder):
            return f"{folder} can be written"
    except RunningError as error:
        return f"{folder} is in use: {error.what}"


def _port(settings: Settings) -> str:
    metrics = settings.root.metrics
    if not metrics.enabled:
        return "off"
    try:
        with socket.create_server((metrics.host, metrics.port)):
            return f"http://{metrics.host}:{metrics.port}/metrics"
    except OSError as error:
        if error.errno == errno.EADDRINUSE and _running(settings):
            return f"http://{metrics.host}:{metrics.port}/metrics is in use by the run that is on"
        raise ConfigError(
            f"cannot listen on {metrics.host}:{metrics.port}: {os.strerror(error.errno or 0)}",
            mend="set metrics.port to a free port",
        ) from error


def _running(settings: Settings) -> bool:
    try:
        with lock(lock_folder(settings.root.snapshots.path, settings.root.name)):
            return False
    except RunningError:
        return True
