"""A task without classes is evaluated by what it says itself: accuracy is 1 minus its error, its own measures are told,
and what only classes have is left out."""

import json
import threading

import orjson
import pytest

from streamlearn.commands.evaluate import report
from streamlearn.commands.evaluate.command import Request, evaluate, planned
from streamlearn.commands.evaluate.one_pass import run
from streamlearn.core.errors import ConfigError
from streamlearn.model.tasks.family import tasks
from tests.number_task import NumberTask

SETS = ("task=number", "learner.batch_size=4", "learner.replay_size=4", "learner.head_learning_rate=0.05")
OF_CLASSES = ("negative_flips", "per_label", "labels_to_80")


@pytest.fixture(autouse=True)
def _number_task():
    with tasks.registered("number", NumberTask):
        yield


def write(path, numbers):
    rows = [{"text": f"w{at % 2} w{at % 7}", "label": number} for at, number in enumerate(numbers)]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return str(path)


@pytest.fixture
def request_(tiny, tmp_path):
    numbers = [1.0 if at % 2 else -1.0 for at in range(120)]
    train, test = write(tmp_path / "train.jsonl", numbers), write(tmp_path / "test.jsonl", numbers[:30])
    return {"train": train, "test": test, "strategies": ("er",), "model": str(tiny), "sets": SETS}


@pytest.mark.parametrize("order", ["as-is", "iid"])
def test_the_error_and_the_measures_of_the_task_are_told(request_, order, caplog):
    (job,) = planned(Request(**request_, order=order))
    done = run(job, threading.Event())
    found = done.figures
    final, error = found["final_accuracy"], found["measures"]["final"]["mae"]
    assert final > 0.6
    assert final == pytest.approx(1 - error / 2, abs=0.1)  # the task's error is half the difference, and at most 1
    assert found["prequential_accuracy"] == pytest.approx(sum(done.outcomes) / 120)
    assert 0 < found["measures"]["prequential"]["mae"] < 36
    assert found["accuracy_matrix"] == [[pytest.approx(final)]]
    assert found["average_accuracy"] == pytest.approx(final)
    assert 0 < found["anytime_accuracy"] <= 1
    assert found["robustness"] == {"typos": pytest.approx(final, abs=0.4), "label_noise": None}
    assert [found[name] for name in OF_CLASSES] == [None] * 3
    assert not caplog.text
    titles = [column.title for column in report.shown([found])]
    assert {"final", "prequential", "mae"} <= set(titles)
    assert "flips" not in titles


def test_without_a_test_set_the_stream_alone_is_told(request_):
    (job,) = planned(Request(**{**request_, "test": None}))
    found = run(job, threading.Event()).figures
    assert found["final_accuracy"] is None
    assert found["measures"]["final"] is None
    assert found["measures"]["prequential"]["mae"] > 0


def test_what_needs_classes_is_ignored_with_a_warning_or_refused(request_, caplog):
    (job,) = planned(Request(**request_, label_noise=0.3, label_efficiency=True))
    assert (job.label_noise, job.label_efficiency) == (None, False)
    assert "--label-noise and --label-efficiency are ignored: the task 'number' has no classes" in caplog.text
    with pytest.raises(ConfigError, match="the task has none") as caught:
        list(planned(Request(**request_, order="class-incremental")))
    assert caught.value.where == "--order class-incremental"
    assert "as-is" in caught.value.mend


def test_a_label_of_the_wrong_kind_is_told_what_it_should_be(request_, tmp_path):
    bare = tmp_path / "bare.jsonl"
    bare.write_text('{"text": "w1", "label": null}\n')
    with pytest.raises(ConfigError, match="as its label a number"):
        list(planned(Request(**{**request_, "train": str(bare)})))


def test_the_command_reports_it(request_, tmp_path, capsys):
    out, html = tmp_path / "out.json", tmp_path / "out.html"
    evaluate(Request(**request_, seeds=(0, 1), json=str(out), html=html))
    assert [set(each["measures"]["final"]) for each in json.loads(out.read_text())] == [{"mae"}] * 2
    assert "mae" in capsys.readouterr().out
    assert "<th>mae</th>" in html.read_text()
