"""The process around a command: one run with a state folder at a time, and signals that end it in order."""

import logging
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from streamlearn.core.errors import ConfigError, RunningError

log = logging.getLogger(__name__)


def lock_folder(path: str, name: str) -> Path:
    """Return the local folder for the lock: that of the snapshots, or one beside where they would be by default."""
    return Path("state") / name if "://" in path else Path(path)


@contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Keep a second run with the same state folder out, as long as the block runs.

    `lock` is locked, and `process` holds the number of the process that has it: where locks are mandatory nobody else
    could read it in the locked file.

    Raises:
        RunningError: another run has it.
        ConfigError: the folder cannot be written.
    """
    path, holder = folder / "lock", folder / "process"
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(path, timeout=0))
            holder.write_text(f"{os.getpid()}\n", encoding="ascii")
        except Timeout:
            raise RunningError(
                f"another run with this name is on (process {_number(holder)})",
                where=str(path),
                mend="stop it first, or give this one another name",
            ) from None
        except OSError as error:
            raise ConfigError(
                f"cannot write there: {error.strerror}",
                where=f"snapshots.path: {folder}",
                mend="name a folder that this user may write, with snapshots.path or --set snapshots.path=/path/to/it",
            ) from error
        yield


def _number(holder: Path) -> str:
    try:
        return holder.read_text(encoding="ascii").strip() or "unknown"
    except OSError:
        return "unknown"


@contextmanager
def signals(stop: Callable[[], Any]) -> Iterator[None]:
    """Call `stop` on SIGTERM and SIGINT; a second SIGINT does not wait for the batch.

    Raises:
        KeyboardInterrupt: SIGINT came after a signal before it.
    """
    stopping = False
    old = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def handle(number: int, _: object) -> None:
        nonlocal stopping
        if stopping and number == signal.SIGINT:
            raise KeyboardInterrupt
        if not stopping:
            stopping = True
            log.info("%s: finishing the batch", signal.Signals(number).name)
            stop()

    for number in old:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
