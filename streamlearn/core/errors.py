"""Every exception that streamlearn raises on purpose.

    StreamlearnError             exit 1: the work failed
    ├── ConfigError              exit 2: the call or the configuration is wrong
    │   └── RunningError         another run of the same name is on
    ├── FencedError              exit 3: another learner took over; do not restart
    └── TemporaryError           exit 75: the surroundings failed; restart me
        ├── BrokerError          the Kafka broker does not answer or refuses for now
        └── TransactionAbortedError  nothing of the transaction counts; the batch can be taken again

A bad event is never an exception: it becomes a dead letter (`stream.dead_letters.DeadLetter`). `assert` guards
invariants of our own code. Whatever else escapes is a bug, and the command line says so.
"""

from typing import ClassVar


class StreamlearnError(Exception):
    """A message for the user: where it happened, what is wrong, how to mend it.

    Args:
        what: the fact, without blame: "the topic 'tickts' does not exist".
        where: file, field, topic or address that the fact is about.
        mend: what to do next, as an instruction.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        super().__init__(what)
        self.what, self.where, self.mend = what, where, mend

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  -> {self.mend}" if self.mend else head


class ConfigError(StreamlearnError):
    """The call or the configuration is wrong: nothing was started."""

    exit_code: ClassVar[int] = 2


class RunningError(ConfigError):
    """Another run holds the state folder."""


class FencedError(StreamlearnError):
    """Another process with the same transactional id took over."""

    exit_code: ClassVar[int] = 3


class TemporaryError(StreamlearnError):
    """The surroundings failed (network, broker, disk): a restart may go through."""

    exit_code: ClassVar[int] = 75


class BrokerError(TemporaryError):
    """The Kafka broker does not answer, or refuses for now."""


class TransactionAbortedError(TemporaryError):
    """The log refused the transaction, and it was aborted: nothing of it counts, and the batch can be taken again."""
