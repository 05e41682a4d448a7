"""How many threads compute on the CPU, and how long they spin while they wait for each other. No torch.

OpenMP's threads wait by spinning. Beside other work that takes the CPU from the very threads that they wait for: on two
busy cores a training step took ten times as long. A short spin costs some percent on an idle machine and keeps most of
the speed on a busy one. libgomp reads the variable when it is loaded, so it is set before torch is imported.

torch takes all cores of the node, also in a container that may use one of them: its quota bounds them here.
"""

import math
import os
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

SPIN: Final = "GOMP_SPINCOUNT"
SPINS: Final = "1000"  # looks at the lock, before a thread goes to sleep
CHOSEN: Final = (SPIN, "OMP_WAIT_POLICY")  # what a user may have set, and then decides
NUMBER: Final = "OMP_NUM_THREADS"


class Allowance(NamedTuple):
    """The CPUs that this process may keep busy, and what says so."""

    cpus: int
    why: str


def spin_briefly(environment: MutableMapping[str, str] | None = None) -> None:
    """Let OpenMP's threads spin briefly, unless the user has said how they wait. To be called before torch is imported.

    Args:
        environment: of this process where not given.
    """
    own = os.environ if environment is None else environment
    if not any(name in own for name in CHOSEN):
        own[SPIN] = SPINS


def allowed(root: Path = Path("/"), affinity: int | None = None) -> Allowance:
    """Return the CPUs that this process may use: by its affinity, and by the quota of its control group.

    Args:
        root: of the file system that has `proc` and `sys`.
        affinity: how many CPUs the process may run on; asked of the system where not given.
    """
    if affinity is None:
        affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = min(_quotas(root), default=math.inf)
    if quota <= affinity - 1:
        return Allowance(max(1, math.ceil(quota)), f"the control group's quota of {quota:g} CPUs")
    return Allowance(affinity, f"{affinity} CPUs that this process may run on")


def threads(taken: int, environment: Mapping[str, str] | None = None, allowance: Allowance | None = None) -> int:
    """Return how many threads are to compute, where `model.threads` is not set.

    Args:
        taken: those that torch takes by itself; it is never raised.
        environment: of this process where not given; its OMP_NUM_THREADS decides.
        allowance: of this process where not given.
    """
    own = os.environ if environment is None else environment
    return taken if own.get(NUMBER) else min(taken, (allowance or allowed()).cpus)


def told(configured: int | None, environment: Mapping[str, str] | None = None) -> str:
    """Say in a line how many threads compute, how they wait, and why.

    Args:
        configured: `model.threads`.
        environment: of this process where not given.
    """
    own = os.environ if environment is None else environment
    if configured is not None:
        number = f"threads: {configured}, by model.threads"
    elif own.get(NUMBER):
        number = f"threads: {own[NUMBER]}, by {NUMBER}"
    else:
        number = "threads: at most {}, by {}".format(*allowed())
    waits = next((name for name in CHOSEN if name in own), None)
    return f"{number}; they wait as {waits}={own[waits]} says" if waits else f"{number}; they spin as OpenMP has it"


def _quotas(root: Path) -> Iterator[float]:
    """Yield every quota above this process, in CPUs: of version 2 of the control groups, and of version 1."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        inside = PurePosixPath(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            if not controllers:
                quota, _, period = _text(root / "sys/fs/cgroup" / folder / "cpu.max").partition(" ")
            elif "cpu" in controllers.split(","):
                base = root / "sys/fs/cgroup/cpu" / folder
                quota, period = _text(base / "cpu.cfs_quota_us"), _text(base / "cpu.cfs_period_us")
            else:
                break
            if quota.strip().isdigit() and period.strip().isdigit() and int(period):  # "max" and -1 are none
                yield int(quota) / int(period)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # not Linux, or hidden from this process
        return ""
