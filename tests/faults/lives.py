"""What the fault tests share: one learner after another on the same topics, each killed in its own way."""

import json
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.faults.audit import Verdict, audit
from tests.kafka.helpers import ONE_THREAD, Process, call, configuration

SECTIONS: Mapping[str, Mapping[str, Any]] = {
    # What is flushed for having waited depends on the clock: without it two runs can be compared.
    "learner": {"batch_size": 8, "replay_size": 8, "max_wait_seconds": 1e6},
    "memory": {"capacity": 100},
    "serving": {"max_batch": 16},
    "snapshots": {"every_seconds": 2},
    "probes": {"share": 0.1},
}


def learner(folder: Path, name: str, address: str, events: str, model: Path, **sections: Mapping[str, Any]) -> Path:
    """Write the configuration of a small learner that takes a snapshot every two seconds."""
    merged = {key: {**SECTIONS.get(key, {}), **sections.get(key, {})} for key in {*SECTIONS, *sections}}
    merged["snapshots"] = {"path": str(folder / f"state-{name}"), **merged["snapshots"]}
    return configuration(folder, name=name, address=address, events=events, model=model, **merged)


def stream(count: int) -> list[bytes]:
    """Return events of 12 classes, each seventh without a label."""
    return [
        json.dumps(
            {
                "id": f"e{i}",
                "text": f"w{i % 12} w{i % 97} w{i % 31}",
                **({} if i % 7 == 3 else {"label": f"c{i % min(12, 2 + i // 200)}"}),
            }
        ).encode()
        for i in range(count)
    ]


def late(count: int) -> list[bytes]:
    """Return labels for the events of `stream` that have none: the first ten come twice, the next ten are corrected."""
    some = [i for i in range(count) if i % 7 == 3]
    labels = [(i, f"c{i % 2}") for i in some]
    labels += [(i, f"c{i % 2}") for i in some[:10]] + [(i, "c9") for i in some[10:20]]
    return [json.dumps({"id": f"e{i}", "label": label}).encode() for i, label in labels]


def killed(folder: Path, config: Path, draw: random.Random) -> None:
    """Start a learner and let it die at a random moment: while it starts, while it goes back, or while it learns."""
    with Process(folder, "run", config, "--until-idle", "60") as run:
        if draw.random() < 0.8:
            run.says("reading ")
            time.sleep(draw.uniform(0.0, 2.0))
        else:
            run.says("loading ")
            time.sleep(draw.uniform(0.0, 2.0))
        assert run.popen.poll() is None, run.err
        run.popen.kill()


def dies_at(folder: Path, config: Path, failpoint: str) -> None:
    """Start a learner that dies at a failpoint."""
    environment = {**ONE_THREAD, "STREAMLEARN_FAILPOINT": failpoint}
    with Process(folder, "run", config, environment=environment) as run:
        assert run.ends() == -9, run.err


def finished(folder: Path, config: Path, *options: str) -> dict[str, Any]:
    """Run a learner to the stream's end, starting it again where it asks for that; return what it says of itself."""
    for _ in range(10):
        with Process(folder, "run", config, "--until-idle", "2", "--json", *options) as run:
            code = run.ends(600)
            assert "Traceback" not in run.err, run.err
            if code == 0:
                summary: dict[str, Any] = json.loads(run.out)
                return summary
            assert code == 75, run.err
    raise AssertionError(f"asked for a restart ten times\n{run.err}")


def replayed(folder: Path, config: Path, summary: Mapping[str, Any]) -> None:
    """See that a process without a snapshot, which learns the whole journal, gives the same answers and weights."""
    empty = folder / f"empty-{time.monotonic_ns()}"
    done = call("replay", config, "--verify", "--json", "--set", f"snapshots.path={empty}", seconds=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["differences"] == 0
    assert found["predictions"] > 0
    assert found["weights_sha256"] == summary["weights_sha256"]


def exact(address: str, name: str, events: str, count: int, labels: str | None = None) -> Verdict:
    """See that each event was predicted once, and that each label has one outcome."""
    verdict = audit(address, name, events, labels)
    assert not verdict.wrong, "\n".join(verdict.wrong[:20])
    assert (verdict.events, verdict.predictions, verdict.repeated) == (count, count, 0)
    return verdict
