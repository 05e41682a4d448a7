"""A real Apache Kafka broker of this checkout's own, as `./dev kafka` runs it."""

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from secrets import randbelow

ROOT = Path(__file__).parents[2]
NOT_INSTALLED = 69  # how `./dev` says that something has to be installed first


class NotInstalledError(Exception):
    """The broker cannot run on this machine; the message says what to install."""


class Broker:
    """One broker on loopback, with its state in `.dev/kafka/PORT` until `remove`.

    Clients see the outages of the real world: `stop` is a shutdown in order, `kill` a crash, and after either of them
    `start` goes on with what had been written.
    """

    def __init__(self) -> None:
        self.port = _free_port()
        self.home = ROOT / ".dev" / "kafka" / str(self.port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            NotInstalledError: Java or Maven is missing, or Maven reaches no repository.
        """
        done = self._dev("start")
        if done.returncode == NOT_INSTALLED:
            raise NotInstalledError(done.stderr.strip().removeprefix("./dev: "))
        assert done.returncode == 0, done.stderr

    def stop(self) -> None:
        """Shut it down in order."""
        done = self._dev("stop")
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        """Let it die at once."""
        os.kill(int((self.home / "pid").read_text()), signal.SIGKILL)

    def remove(self) -> None:
        """Stop it for good, and delete all that it kept."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def _dev(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "dev", "kafka", command],
            env=os.environ | {"STREAMLEARN_KAFKA_PORT": str(self.port)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            start_new_session=True,  # an interrupt at the keyboard is for the tests: they stop the broker themselves
        )


def _free_port() -> int:
    """Find a port that is free together with the next one, below those that the system gives to clients."""
    while True:
        port = 20_000 + 2 * randbelow(6_000)
        with socket.socket() as one, socket.socket() as two:
            try:
                one.bind(("127.0.0.1", port))
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
