"""`streamlearn evaluate`: orders are fixed by the seed, figures follow from their definitions, nothing of the test set
is learned, and what is wrong with a call is one message."""

import hashlib
import json
import math
import re
import threading
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import orjson
import pytest
import torch

from streamlearn.commands.evaluate import figures, report, robustness, streams
from streamlearn.commands.evaluate.command import Request, configured, evaluate, planned
from streamlearn.commands.evaluate.examiner import Examiner, exam
from streamlearn.commands.evaluate.figures import Point
from streamlearn.commands.evaluate.html import page
from streamlearn.commands.evaluate.one_pass import curve, parts, run
from streamlearn.core.errors import ConfigError, StreamlearnError
from streamlearn.core.registry import ComponentSpec
from streamlearn.model.tasks.family import tasks
from streamlearn.stream.fields import Fields
from tests.kafka.helpers import call

CONTRACT = {
    *("strategy", "seed", "order", "final_accuracy", "average_accuracy", "forgetting", "backward_transfer"),
    *("forward_transfer", "prequential_accuracy", "anytime_accuracy", "accuracy_matrix", "robustness", "per_label"),
    *("seconds", "samples_per_second", "memory_bytes"),
}
TIMES = ("seconds", "stage_seconds", "samples_per_second")
LEARNER = ("learner.batch_size=4", "learner.replay_size=4", "learner.head_learning_rate=0.05")
FLOORS = {  # of final and prequential accuracy, with what was measured beside them in %
    ("dual", "class-incremental"): (0.97, 0.84),  # 98.2 and 85.5
    ("dual", "iid"): (0.97, 0.92),  # 98.3 and 93.2
    ("er", "class-incremental"): (0.87, 0.24),  # 91.0 and 28.0
    ("er", "iid"): (0.95, 0.82),  # 96.5 and 84.0
    ("er-ace", "class-incremental"): (0.73, 0.16),  # 78.0 and 19.5
    ("derpp", "class-incremental"): (0.89, 0.27),  # 92.8 and 30.8
    ("slda", "class-incremental"): (0.94, 0.79),  # 95.5 and 81.3
    ("ncm", "class-incremental"): (0.97, 0.83),  # 98.2 and 84.5
}
CLINC = "c86cceae4fd2f2066fb2c463f6c6a3c5454487720bc6157a49517b5e1fd26390"


def samples(count, classes=4, start=0):
    """A set that a model with random weights learns: one word of its own for each class."""
    return [
        {"text": f"w{i % classes} w{i % classes} w{50 + i % 7}", "label": f"c{i % classes}"}
        for i in range(start, start + count)
    ]


def write(path, rows):
    path.write_bytes(b"".join((row if isinstance(row, bytes) else orjson.dumps(row)) + b"\n" for row in rows))
    return str(path)


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "train.jsonl", samples(96)), write(tmp_path / "test.jsonl", samples(28, start=3))


def read(path, **fields):
    return streams.read(
        str(path), Fields(**fields), tasks.build(ComponentSpec(name="sequence-classification")), max_bytes=1000
    )


def evaluated(tiny, files, **options):
    train, test = files
    order = options.pop("order", streams.CLASS_INCREMENTAL)
    request = Request(train=train, test=test, order=order, model=str(tiny), **{"sets": LEARNER, **options})
    return [run(job, threading.Event()) for job in planned(request)]


def without_times(found):
    return {name: value for name, value in found.items() if name not in TIMES}


# Orders.


def test_clinc150_comes_in_the_order_of_its_benchmark(data):
    stream = streams.ordered(read(data / "clinc150" / "train.jsonl"), streams.CLASS_INCREMENTAL, groups=None, seed=0)
    written = hashlib.sha256()
    for group, rows in enumerate(stream.parts):
        for row in rows:
            line = json.dumps({"id": row.id, **json.loads(row.value), "group": group}, ensure_ascii=False) + "\n"
            written.update(line.encode())
    assert written.hexdigest() == CLINC


def test_each_order_keeps_every_row_and_follows_from_the_seed(files):
    labelled = read(files[0])
    for order in streams.ORDERS:
        first, again, other = (streams.ordered(labelled, order, groups=2, seed=seed) for seed in (0, 0, 1))
        assert first == again
        assert (first == other) == (order == streams.AS_IS)
        assert sorted(row.id for part in first.parts for row in part) == sorted(row.id for row in labelled.rows)
    assert streams.ordered(labelled, streams.AS_IS, groups=None, seed=3).parts == [labelled.rows]


def test_groups_share_no_class_and_rows_without_a_label_come_last(tmp_path):
    rows = [*samples(20), {"text": "w1"}, b"{broken", *samples(20)]
    labelled = read(write(tmp_path / "train.jsonl", rows))
    stream = streams.ordered(labelled, streams.CLASS_INCREMENTAL, groups=2, seed=0)
    first, second = ({row.label for row in part} - {None} for part in stream.parts)
    assert len(first) == len(second) == 2
    assert not first & second
    assert [row.label for row in stream.parts[-1][-2:]] == [None, None]
    assert labelled.refused == {"invalid-json": 1}


def test_labels_that_are_numbers_are_sorted_as_numbers(tmp_path):
    rows = [{"text": "w1", "label": label} for label in (10, 9, 2)]
    assert read(write(tmp_path / "train.jsonl", rows)).labels == ["2", "9", "10"]


def test_a_csv_with_names_of_its_own_is_read(tmp_path):
    (tmp_path / "train.csv").write_text('body,intent\n"a, b",x\nc,y\n')
    labelled = read(tmp_path / "train.csv", text="body", label="intent")
    assert [(row.text, row.label) for row in labelled.rows] == [("a, b", "x"), ("c", "y")]


def test_without_groups_the_test_set_is_asked_at_ten_points(files):
    stream = streams.ordered(read(files[0]), streams.IID, groups=None, seed=0)
    cut = parts(stream)
    assert len(cut) == 10
    assert [row for part in cut for row in part] == stream.parts[0]
    assert len(parts(streams.limited(stream, 3))) == 3


def test_a_limit_keeps_the_beginning(files):
    stream = streams.ordered(read(files[0]), streams.CLASS_INCREMENTAL, groups=4, seed=0)
    cut = streams.limited(stream, 30)
    assert [len(part) for part in cut.parts] == [24, 6]
    assert cut.parts[1] == stream.parts[1][:6]


# Figures.

TASKS = np.array([0, 0, 1, 1, -1])


def point(events, right, come):
    return Point(events, np.array(right, bool), np.array(come, bool))


POINTS = [point(10, [1, 1, 0, 0, 0], [1, 1, 0, 0, 0]), point(20, [1, 0, 1, 1, 0], [1, 1, 1, 1, 0])]


def test_the_matrix_is_the_accuracy_of_each_group_after_each_group():
    assert figures.matrix(POINTS, TASKS, 2).tolist() == [[1.0, 0.0], [0.5, 1.0]]


def test_anytime_accuracy_asks_what_had_come():
    assert figures.anytime(POINTS) == pytest.approx((1.0 + 0.75) / 2)
    assert math.isnan(figures.anytime([point(1, [0], [0])]))


def test_negative_flips_are_of_what_was_right():
    assert figures.negative_flips(POINTS) == pytest.approx(1 / 2)
    assert math.isnan(figures.negative_flips(POINTS[:1]))


def test_the_report_by_label_by_hand():
    truth = np.array(["a", "a", "a", "b", "c"], object)
    said = np.array(["a", "a", "b", "b", None], object)
    found = figures.per_label(truth, said)
    assert found["a"] == {"precision": 1.0, "recall": pytest.approx(2 / 3), "f1": pytest.approx(0.8), "support": 3}
    assert found["b"] == {"precision": 0.5, "recall": 1.0, "f1": pytest.approx(2 / 3), "support": 1}
    assert found["c"] == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "support": 1}


def test_a_class_that_never_gets_there_is_the_worst():
    assert figures.efficiency({"a": 3, "b": None, "c": 5})["median"] == 5
    assert figures.efficiency({"a": 3, "b": None, "c": None})["median"] is None
    assert figures.efficiency({})["classes"] == 0


def test_the_curve_is_a_window_over_the_outcomes():
    assert curve([]) == []
    assert curve([False] * 10 + [True] * 10)[-1] == (20, 0.5)
    assert curve([False] * 500 + [True] * 500)[-1] == (1000, 1.0)


# Robustness.


def test_typing_errors_hit_a_tenth_of_the_words():
    texts = ["please send me the money back"] * 500
    hit = robustness.misspelt(texts)
    assert hit == robustness.misspelt(texts)
    changed = sum(
        a != b for text, other in zip(texts, hit, strict=True) for a, b in zip(text.split(), other.split(), strict=True)
    )
    assert 0.07 < changed / (6 * 500) < 0.12
    assert robustness.misspelt(["a b", ""]) == ["a b", ""]


def test_wrong_labels_are_others_that_are_known_by_then(files):
    stream = streams.ordered(read(files[0]), streams.CLASS_INCREMENTAL, groups=4, seed=0)
    wrong = robustness.mislabelled(stream, 0.5, path="label", seed=0)
    known = set()
    changed = 0
    for part, other in zip(stream.parts, wrong.parts, strict=True):
        known |= {row.label for row in part}
        for row, noisy in zip(part, other, strict=True):
            assert (row.id, row.text) == (noisy.id, noisy.text)
            assert orjson.loads(noisy.value)["label"] == noisy.label
            assert noisy.label in known
            changed += row.label != noisy.label
    assert wrong.parts[0] == stream.parts[0]  # the only class that is known
    assert 25 < changed < 47
    assert robustness.mislabelled(stream, 0.0, path="label", seed=0) == stream


# Evaluations.


def test_every_field_is_there_and_the_figures_belong_together(tiny, files):
    (done,) = evaluated(tiny, files, label_efficiency=True, label_noise=0.3)
    found = done.figures
    json.dumps(found, allow_nan=False)
    assert set(found) >= CONTRACT
    matrix = np.array(found["accuracy_matrix"])
    assert matrix.shape == (4, 4)
    assert np.triu(matrix, 1).sum() == 0  # what has not come cannot be answered
    assert found["average_accuracy"] == pytest.approx(matrix[-1].mean())
    assert found["backward_transfer"] == pytest.approx((matrix[-1, :-1] - matrix.diagonal()[:-1]).mean())
    assert found["forward_transfer"] == 0
    assert found["final_accuracy"] == pytest.approx(matrix[-1].mean())  # groups of the same size
    support = sum(row["support"] for row in found["per_label"].values())
    recalled = sum(row["recall"] * row["support"] for row in found["per_label"].values())
    assert found["final_accuracy"] == pytest.approx(recalled / support)
    assert 0 <= found["robustness"]["typos"] <= 1
    assert 0 <= found["robustness"]["label_noise"] <= 1
    assert found["labels_to_80"]["classes"] == 2  # of the second half
    assert found["prequential_accuracy"] == pytest.approx(np.mean(done.outcomes))
    assert (found["samples"], len(done.outcomes), len(done.points)) == (96, 96, 4)
    assert done.points[-1] == (96, pytest.approx(found["final_accuracy"]))
    assert found["memory_bytes"] > 0
    assert sum(found["stage_seconds"].values()) <= found["seconds"]


def test_the_same_call_gives_the_same_figures(tiny, files):
    sets = (*LEARNER, "learner.new_class=zeros")  # else all is right from a class's second batch on, whatever the seed
    first, again = (evaluated(tiny, files, seeds=(0, 1), strategies=("er", "finetune"), sets=sets) for _ in range(2))
    assert [without_times(each.figures) for each in first] == [without_times(each.figures) for each in again]
    assert [(each.figures["strategy"], each.figures["seed"]) for each in first] == [
        (name, seed) for name in ("er", "finetune") for seed in (0, 1)
    ]
    assert first[0].outcomes != first[1].outcomes


@pytest.mark.parametrize("order", streams.ORDERS)
def test_asking_the_test_set_changes_nothing_that_is_learned(tiny, files, order):
    train, test = files
    (asked,) = evaluated(tiny, (train, test), order=order)
    (alone,) = evaluated(tiny, (train, None), order=order)
    # Polls are cut at the looks at the test set either way, so what was served is the same too.
    assert alone.outcomes == asked.outcomes
    assert alone.figures["prequential_accuracy"] == asked.figures["prequential_accuracy"]
    missing = {name for name, value in alone.figures.items() if value is None}
    assert missing >= CONTRACT - {
        *("strategy", "seed", "order", "prequential_accuracy", "seconds", "samples_per_second", "memory_bytes")
    }


def test_what_has_no_groups_is_one_task(tiny, files):
    (done,) = evaluated(tiny, files, order=streams.IID)
    assert done.figures["accuracy_matrix"] == [[done.figures["final_accuracy"]]]
    assert done.figures["average_accuracy"] == done.figures["final_accuracy"]
    assert done.figures["forgetting"] is None
    assert len(done.points) == 10
    assert done.figures["anytime_accuracy"] == pytest.approx(np.mean([accuracy for _, accuracy in done.points]))


def test_rehearsal_keeps_what_fine_tuning_forgets(tiny, files, tmp_path):
    files = write(tmp_path / "long.jsonl", samples(192)), files[1]
    sets = (*LEARNER, "learner.replay_size=16")
    kept, lost = (each.figures for each in evaluated(tiny, files, strategies=("er", "finetune"), sets=sets))
    assert lost["forgetting"] > 0.4
    assert kept["forgetting"] < 0.2
    assert kept["memory_bytes"] > lost["memory_bytes"] == 0


def test_bad_lines_are_dead_letters_and_labels_that_never_come_count_as_wrong(tiny, tmp_path, caplog):
    bare = {"text": "w1 w9"}
    train = write(tmp_path / "train.jsonl", [*samples(16, 2), b"\xff", {"label": "c0"}, *samples(15, 2), bare])
    test = write(tmp_path / "test.jsonl", samples(8, 4))
    (done,) = evaluated(tiny, (train, test), order=streams.AS_IS, label_efficiency=True)
    assert done.figures["dead_letters"] == {"encoding": 1, "missing-input": 1}
    assert done.figures["samples"] == 34
    assert done.figures["final_accuracy"] <= 0.5
    assert "2 lines become dead letters (1 encoding, 1 missing-input), first line 17: not UTF-8" in caplog.text
    assert "; line 18: there is no 'text'" in caplog.text
    assert "1 of 34 lines have no label: predicted, and neither learned nor measured" in caplog.text
    assert "--label-efficiency finds nothing" in caplog.text
    assert "2 labels of" in caplog.text
    assert "their 4 samples count as wrong" in caplog.text


def test_an_interrupted_evaluation_keeps_what_passed(tiny, files):
    stop, seen = threading.Event(), []

    def advance(events):
        seen.append(events)
        if sum(seen) >= 30:
            stop.set()

    train, test = files
    (job,) = planned(Request(train=train, test=test, model=str(tiny), sets=LEARNER))
    done = run(job, stop, advance)
    assert not done.finished
    assert not done.figures["finished"]
    assert done.figures["final_accuracy"] is None
    assert 30 <= done.figures["samples"] == len(done.outcomes) < 96


def test_a_micro_batch_is_a_batch_of_the_learner_unless_it_is_set(tmp_path, tiny):
    assert configured(Request("x", sets=("learner.batch_size=7",)), None, 3).root.serving.max_batch == 7
    assert configured(Request("x", sets=("serving.max_batch=5",)), None, 3).root.serving.max_batch == 5
    config = tmp_path / "mine.yaml"
    config.write_text("strategy: finetune\nlearner: {batch_size: 9}\nprobes: {share: 0.5}\n")
    root = configured(Request("x", config=config, memory=50, model=str(tiny)), None, 3).root
    assert (root.strategy.name, root.seed, root.memory.capacity, root.serving.max_batch) == ("finetune", 3, 50, 9)
    assert (root.probes.share, root.drift.enabled, root.model.name) == (0, False, str(tiny))
    assert configured(Request("x", config=config), "er", 0).root.strategy.name == "er"
    config.write_text("serving: {max_batch: 6}\n")
    assert configured(Request("x", config=config), None, 0).root.serving.max_batch == 6


def test_a_strategy_of_the_file_keeps_its_settings_and_another_has_its_own(tmp_path, monkeypatch):
    config = tmp_path / "mine.yaml"
    config.write_text("strategy: {name: ridge, features: 512}\n")

    def strategy(name, *sets):
        return configured(Request("x", config=config, sets=sets), name, 0).root.strategy

    assert strategy("ridge").settings == strategy(None).settings == {"features": 512}
    assert strategy("ridge", "strategy.features=256").settings == {"features": 256}
    assert (strategy("er").name, strategy("er").settings) == ("er", {})
    monkeypatch.setenv("STREAMLEARN_STRATEGY", "er")
    assert strategy("ridge").settings == {}
    monkeypatch.setenv("STREAMLEARN_STRATEGY", "ridge")
    monkeypatch.setenv("STREAMLEARN_STRATEGY__FEATURES", "128")
    assert strategy("ridge").settings == {"features": 128}
    monkeypatch.delenv("STREAMLEARN_STRATEGY")
    monkeypatch.delenv("STREAMLEARN_STRATEGY__FEATURES")
    config.write_text("strategy: {name: ridge, featurs: 512}\n")
    with pytest.raises(ConfigError, match="did you mean 'features'"):
        strategy("ridge")


def test_a_class_is_asked_until_it_is_known():
    class Served:
        task = tasks.build(ComponentSpec(name="sequence-classification"))

        class model:  # noqa: N801 - stands for an attribute
            trained = True
            tokenize = staticmethod(lambda texts: ([np.array([row]) for row in range(len(texts))], None))

    examiner = Examiner(Served, exam(streams.Labelled("x", rows_of("a", "a", "b"), ["a", "b"], {})), lambda: False)
    known = {"a": 5, "b": 99}
    learned = {"a": 0, "b": 0}
    asked = []

    def answered(tokens, truth):
        label = examiner.exam.truth[tokens[0][0]]
        asked.append((label, learned[label]))
        return np.array([label if learned[label] >= known[label] else "?"] * len(tokens), object)

    examiner._answered = answered
    for label in ("a", "b", "without test samples"):
        examiner.watch(label)
    for count in (0, 1, 1, 4, 5, 6, 30, 40):
        learned.update(a=count, b=count)
        examiner.follow(learned)
    assert examiner.needed == {"a": 5, "b": None}
    assert [count for label, count in asked if label == "a"] == [1, 4, 5]
    assert [count for label, count in asked if label == "b"] == [1, 4, 5, 30]


def rows_of(*labels):
    return [streams.Row(str(i), b"", f"text {i}", label) for i, label in enumerate(labels)]


# The report.


class Strict(HTMLParser):
    """Sees that tags are closed in order; collects them, and what is shown."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.shown = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown.append(data)


def test_the_page_stands_alone_and_escapes_what_it_is_given(tiny, tmp_path):
    evil = '<script>alert("&")</script>'
    rows = [{**row, "label": row["label"].replace("c0", evil)} for row in samples(48)]
    train = write(tmp_path / "<b>train.jsonl", rows)
    done = evaluated(tiny, (train, train), seeds=(0, 1), strategies=("er", "finetune"))
    html = page(done, train, train)
    parser = Strict()
    parser.feed(html)
    assert parser.open == []
    assert {"svg", "polyline", "polygon", "rect", "circle", "table"} <= set(parser.tags)
    assert not {"script", "b", "link", "img", "iframe"} & set(parser.tags)
    assert evil in parser.shown
    assert not re.search(r"https?:|url\(|@import|\bnan\b", html)
    assert "prefers-color-scheme: dark" in html


def test_seeds_with_different_numbers_of_groups_have_maps_of_their_own(tiny, tmp_path):
    rows = [row for at in range(3) for row in samples(3 * (60 if at == 2 else 15), classes=3)[at::3]]
    train, test = write(tmp_path / "train.jsonl", rows), write(tmp_path / "test.jsonl", samples(12, classes=3))
    done = evaluated(tiny, (train, test), seeds=(0, 4, 5, 9), limit=50)
    seeds = {}
    for each in done:
        seeds.setdefault(len(each.figures["accuracy_matrix"]), []).append(str(each.figures["seed"]))
    assert set(seeds) == {1, 2, 3}
    parser = Strict()
    parser.feed(page(done, train, test))
    shown = [text for text in parser.shown if " groups: seed" in text]
    name = done[0].figures["strategy"]
    assert shown == [
        f"{name}, {size} groups: seed{'s' * (len(seeds[size]) > 1)} {', '.join(seeds[size])}" for size in (2, 3)
    ]


def test_the_page_of_an_evaluation_without_a_test_set(tiny, files):
    parser = Strict()
    parser.feed(page(evaluated(tiny, (files[0], None)), files[0], None))
    assert parser.open == []
    assert "Accuracy of each group of classes" not in parser.shown


def test_the_table_has_a_row_for_each_seed_and_their_mean(tiny, files):
    found = [each.figures for each in evaluated(tiny, files, seeds=(0, 1), strategies=("er",))]
    (table, *_) = report.table(found, 200).renderables
    assert table.row_count == 3
    (lying, *_) = report.table(found, 80).renderables
    assert [column.header for column in lying.columns] == ["", "er (2 seeds)"]
    assert report.notes([{**found[0], "finished": False}]) == ["er, seed 0 was stopped after 96 events"]
    assert report.size(2_000_000) == "2 MiB"


# The command line.


def test_the_command_writes_what_is_asked_for(tmp_path, tiny, files, capsys):
    train, test = files
    out, html = tmp_path / "out.json", tmp_path / "out.html"
    request = Request(train, test, ("er",), model=str(tiny), sets=LEARNER, json=str(out), html=html)
    evaluate(request)
    (found,) = json.loads(out.read_text())
    assert set(found) >= CONTRACT
    assert html.read_text().startswith("<!doctype html>")
    shown = capsys.readouterr()
    assert "prequential" in shown.out
    assert "1 of 1: er, seed 0" in shown.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_file_that_cannot_be_written_takes_nothing_else_away(tmp_path, tiny, files, capsys):
    train, test = files
    html = tmp_path / "out.html"
    with pytest.raises(StreamlearnError, match="--json /dev/full: cannot be written: No space left") as caught:
        evaluate(Request(train, test, ("er",), model=str(tiny), sets=LEARNER, json="/dev/full", html=html))
    assert caught.value.mend
    assert html.read_text().startswith("<!doctype html>")
    assert "prequential" in capsys.readouterr().out
    out = tmp_path / "out.json"
    with pytest.raises(StreamlearnError, match="--html /dev/full: cannot be written: No space left"):
        evaluate(Request(train, None, ("er",), model=str(tiny), sets=LEARNER, json=str(out), html=Path("/dev/full")))
    assert json.loads(out.read_text())


def test_files_are_tried_before_the_work_and_stay_as_they_are(tmp_path, files):
    there, new, link = tmp_path / "there.json", tmp_path / "new.html", tmp_path / "link.html"
    there.write_text("figures of yesterday")
    link.symlink_to(tmp_path / "behind.html")
    for html in (new, link):
        list(planned(Request(files[0], json=str(there), html=html)))
    assert there.read_text() == "figures of yesterday"
    assert not new.exists()
    assert link.is_symlink()
    assert not link.exists()


def test_a_figure_that_is_no_finite_number_is_null_in_json():
    found = [{"a": math.inf, "b": {"c": [math.nan, 1.5, 2]}, "d": (-math.inf,), "e": "nan", "f": None, "g": True}]
    assert figures.plain(found) == [
        {"a": None, "b": {"c": [None, 1.5, 2]}, "d": [None], "e": "nan", "f": None, "g": True}
    ]
    assert figures.finite(math.inf) is None


def test_json_on_the_standard_output_is_alone_there(tiny, files):
    train, test = files
    done = call("evaluate", "--train", train, "--test", test, "--model", tiny, "--json", "-", "--seeds", "0,1")
    assert done.returncode == 0, done.stderr
    assert [each["seed"] for each in json.loads(done.stdout)] == [0, 1]
    assert "strategy" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"train": "absent"}, ["absent", "No such file", "give the path"]),
        ({"train": "trian.jsonl"}, ["did you mean", "train.jsonl"]),
        ({"test": "empty.jsonl"}, ["empty.jsonl", "the file is empty"]),
        ({"train": "bare.jsonl"}, ["bare.jsonl", "no line has a label", "text, intent", "--set fields.label=label"]),
        ({"train": "broken.jsonl"}, ["none of its 1 lines can be taken"]),
        ({"train": "torn.jsonl.gz"}, ["torn.jsonl.gz", "cannot be read"]),
        ({"strategies": ("err",)}, ["--strategy", "did you mean 'er'?"]),
        ({"order": "class-incremental", "groups": 9}, ["9 groups are more than the 4 labels", "at most 4"]),
        ({"order": "class-incremantal"}, ["did you mean 'class-incremental'?"]),
        ({"sets": ("learner.batchsize=3",)}, ["did you mean 'batch_size'?"]),
        ({"json": "no/out.json"}, ["--json", "there is no such folder"]),
        ({"json": "x" * 300}, ["--json", "cannot be written: File name too long"]),
        ({"html": Path("x" * 300)}, ["--html", "cannot be written: File name too long"]),
        ({"config": "none.yaml"}, ["none.yaml", "no such file"]),
    ],
)
def test_what_is_wrong_is_one_message_before_a_model_is_loaded(tmp_path, files, options, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "empty.jsonl", [])
    write(tmp_path / "bare.jsonl", [{"text": "w1", "intent": "a"}])
    write(tmp_path / "broken.jsonl", [b"{"])
    write(tmp_path / "torn.jsonl.gz", [b"no gzip"])
    request = {"train": files[0], "test": files[1], "model": "package:no_such_model", **options}
    with pytest.raises(ConfigError) as caught:
        list(planned(Request(**request)))
    for word in words:
        assert word in str(caught.value)
    assert caught.value.mend


@pytest.mark.parametrize("arguments", [["--train", "no-such.jsonl"], ["--train", "x", "--seeds", "0,x"]])
def test_a_wrong_call_exits_with_2_and_no_traceback(arguments):
    done = call("evaluate", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert len(re.findall("error:", done.stderr, re.IGNORECASE)) == 1


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("strategy", "order"), list(FLOORS))
def test_learning_a_part_of_clinc150_does_not_get_worse(tmp_path, data, strategy, order):
    """20 classes with 30 samples each: floors that a regression of learning falls through."""
    whole = [json.loads(line) for line in (data / "clinc150" / "train.jsonl").read_text().splitlines()]
    test = [json.loads(line) for line in (data / "clinc150" / "test.jsonl").read_text().splitlines()]
    labels = sorted({row["label"] for row in whole})[:20]
    train = [row for label in labels for row in [row for row in whole if row["label"] == label][:30]]
    threads = torch.get_num_threads()
    files = (
        write(tmp_path / "train.jsonl", train),
        write(tmp_path / "test.jsonl", [row for row in test if row["label"] in labels]),
    )
    groups = 5 if order == streams.CLASS_INCREMENTAL else None
    (job,) = planned(Request(*files, (strategy,), order=order, groups=groups, sets=("model.threads=1",)))
    try:
        found = run(job, threading.Event()).figures
    finally:
        torch.set_num_threads(threads)
    final, prequential = FLOORS[strategy, order]
    assert found["final_accuracy"] > final
    assert found["prequential_accuracy"] > prequential
