"""Named places at which a test may let the process die: what holds in production is that nothing happens there.

    taken             records were polled, nothing was done with them
    predicted         predictions are made, nothing was sent
    sent              predictions and the journal record are in an open transaction
    committed         the transaction counts, nothing was learned from it
    learned           the batch was learned, and no snapshot tells of it
    snapshot-written  a snapshot is whole, and the journal does not name it
    snapshot-named    the journal names it, and older ones are still there
    started           the journal has the new start, and nothing was applied again
    reapplied         one batch of the past was applied again
    warming           a part of the warm start's file was read, nothing was done with it
    warmed            that part was learned, and no snapshot tells of it

The variable STREAMLEARN_FAILPOINT kills a process at one of them: `committed`, or `committed:3` for its third time.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final, Literal, get_args

from streamlearn.core.errors import ConfigError

Failpoint = Literal[
    "taken",
    "predicted",
    "sent",
    "committed",
    "learned",
    "snapshot-written",
    "snapshot-named",
    "started",
    "reapplied",
    "warming",
    "warmed",
]
NAMES: Final[tuple[Failpoint, ...]] = get_args(Failpoint)
VARIABLE: Final = "STREAMLEARN_FAILPOINT"

_hooks: list[Callable[[Failpoint], None]] = []


def reach(name: Failpoint) -> None:
    """Tell whoever listens that the place was reached."""
    for hook in _hooks:
        hook(name)


def listen(hook: Callable[[Failpoint], None] | None) -> None:
    """Let `hook` be called at every place, instead of an earlier one; None ends it."""
    _hooks[:] = [] if hook is None else [hook]


def from_environment(environment: Mapping[str, str]) -> None:
    """Die by SIGKILL at the place that the environment names, if it names one.

    Raises:
        ConfigError: there is no such place.
    """
    wanted, _, times = environment.get(VARIABLE, "").partition(":")
    if not wanted:
        return
    if wanted not in NAMES or not (times or "1").isdigit():
        raise ConfigError(f"{wanted!r} is no failpoint", where=VARIABLE, mend=f"name one of {', '.join(NAMES)}")
    seen: Counter[str] = Counter()

    def die(name: Failpoint) -> None:
        seen[name] += 1
        if name == wanted and seen[name] == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)

    listen(die)
