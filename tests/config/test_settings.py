"""The configuration: what decides a value, where it came from, and errors that name place, fact and mend."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from streamlearn.config import fingerprint
from streamlearn.config.components import COMPONENTS
from streamlearn.config.ignored import ignored
from streamlearn.config.settings import check, load
from streamlearn.config.tree import Root
from streamlearn.core.errors import ConfigError
from streamlearn.core.registry import Nothing
from streamlearn.evaluation.drift.family import SIGNALS
from streamlearn.model.tasks.family import tasks
from tests.core.test_secrets import LOOKS_SECRET
from tests.core.test_secrets import SECRET as SECRET_PROPERTIES

MINIMAL = """\
name: support
kafka: {bootstrap_servers: localhost:9092, topics: {events: support-tickets}}
model: {name: sentence-transformers/all-MiniLM-L6-v2}
task: {name: sequence-classification}
"""
SECRET = "hunter2-and-more"  # noqa: S105 - no real one


@pytest.fixture
def write(tmp_path):
    def write(more="", base=MINIMAL):
        path = tmp_path / "support.yaml"
        path.write_text(base + more)
        return path

    return write


def refusal(path, sets=(), environment=None):
    with pytest.raises(ConfigError) as caught:
        load(path, sets, environment or {})
    text = str(caught.value)
    assert "Traceback" not in text
    assert "pydantic" not in text
    assert SECRET not in text
    assert caught.value.exit_code == 2
    return text


def leaves(tree, where=()):
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*where, key))
        else:
            yield (*where, key), value


def origins(shown):
    """The origin that each line of `show()` gives, by the setting's place."""
    found, path = {}, []
    for line in shown.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        path[depth:] = [line.strip().partition(":")[0]]
        if not line.endswith(":"):
            found[tuple(path)] = line.rpartition("  # ")[2]
    return found


def test_the_rest_follows_from_the_name(write):
    root = load(write(), environment={}).root
    assert root.kafka.topics.predictions == "support.predictions"
    assert root.kafka.topics.dead_letters == "support.dead-letters"
    assert root.kafka.group_id == "streamlearn.support"
    assert root.snapshots.path == "./state/support"
    assert root.strategy.name == "dual"


def test_what_is_set_does_not_follow_from_the_name(write):
    settings = load(write("snapshots: {path: /var/lib/s}\n"), ["kafka.topics.predictions=p"], {})
    assert settings.root.snapshots.path == "/var/lib/s"
    assert settings.root.kafka.topics.predictions == "p"


def test_a_checked_mapping_needs_no_file():
    assert check(yaml.safe_load(MINIMAL)).root.kafka.group_id == "streamlearn.support"


def test_set_over_environment_over_file_over_default(write):
    path = write("learner: {batch_size: 2}\n")
    environment = {"STREAMLEARN_LEARNER__BATCH_SIZE": "3"}
    sizes = [
        load(write(), environment={}),
        load(write("learner: {batch_size: 2}\n"), environment={}),
        load(path, environment=environment),
        load(path, ["learner.batch_size=4"], environment),
        load(path, ["learner.batch_size=4", "learner.batch_size=5"], environment),
    ]
    assert [each.root.learner.batch_size for each in sizes] == [16, 2, 3, 4, 5]
    assert [origins(each.show())["learner", "batch_size"] for each in sizes] == [
        "default",
        "support.yaml:5",
        "STREAMLEARN_LEARNER__BATCH_SIZE",
        "--set",
        "--set",
    ]


def test_the_process_has_the_environment(write, monkeypatch):
    monkeypatch.setenv("STREAMLEARN_SEED", "7")
    monkeypatch.setenv("STREAMLEARN_NAME", "other")
    monkeypatch.setenv("STREAMLEARN_STRATEGY", "er")
    root = load(write()).root
    assert root.strategy.name == "er"
    monkeypatch.setenv("STREAMLEARN_TASK", "no-such-task")
    with pytest.raises(ConfigError, match=r"STREAMLEARN_TASK: task\.name: there is no task named 'no-such-task'"):
        load(write())
    assert (root.seed, root.name, root.kafka.group_id) == (7, "other", "streamlearn.other")


def test_every_key_of_the_tree_can_be_given_by_the_environment(write):
    environment = {
        "STREAMLEARN_PENALTIES": "[lwf]",
        "STREAMLEARN_MODEL": "{name: other, max_length: 8}",
        "STREAMLEARN_LEARNER": "{batch_size: 3, replay_size: 2}",
        "STREAMLEARN_LEARNER__BATCH_SIZE": "5",
    }
    root = load(write("learner: {dropout: 0.5}\n"), environment=environment).root
    assert [spec.name for spec in root.penalties] == ["lwf"]
    assert (root.model.name, root.model.max_length) == ("other", 8)
    assert (root.learner.batch_size, root.learner.replay_size, root.learner.dropout) == (5, 2, 0.0)
    for key in Root.model_fields:
        told = refusal(write(), environment={f"STREAMLEARN_{key.upper()}": "[[]]"})
        assert f"STREAMLEARN_{key.upper()}: {key}" in told


@pytest.mark.parametrize(
    "name",
    ["STREAMLEARN_DATA", "STREAMLEARN_KAFKA_PORT", "STREAMLEARN_TORCH_INDEX", "STREAMLEARN_PACKAGE_INDEX",
     "STREAMLEARN_FAILPOINT", "STREAMLEARN_REQUIRE_ALL", "STREAMLEARN_TEST_KAFKA", "STREAMLEARN_AVALANCHE",
     "STREAMLEARN_PORT", "STREAMLEARN_SERVICE_HOST", "KAFKA__X"],
)  # fmt: skip
def test_other_variables_are_no_settings(write, name):
    assert load(write(), environment={name: "1"}).root == load(write(), environment={}).root


def test_a_variable_that_names_no_setting_is_refused(write):
    text = refusal(write(), environment={"STREAMLEARN_KAFAK__X": "1"})
    assert "STREAMLEARN_KAFAK__X: kafak: there is no such setting; did you mean 'kafka'?" in text


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("lerner: {}\n", ":5: lerner: there is no such setting; did you mean 'learner'?"),
        ("learner:\n  batch_sise: 2\n", ":6: learner.batch_sise: there is no such setting; did you mean 'batch_size'?"),
        ("strategy: {name: er, alpa: 1}\n", ":5: strategy.alpa: there is no such setting"),
        ("memory:\n  policy: {name: reservoir, x: 1}\n", ":6: memory.policy.x: there is no such setting"),
        ("strategy: err\n", ":5: strategy.name: there is no strategy named 'err'; did you mean 'er'?"),
        ("strategy:\n  name: err\n", ":6: strategy.name: there is no strategy named 'err'; did you mean 'er'?"),
        ("memory: {policy: reservior}\n", ":5: memory.policy.name: there is no"),
        ("learner: {batch_size: 0}\n", ":5: learner.batch_size: input should be greater than or equal to 1, not 0"),
        ("fields: {slices: {a: $key}}\n", ":5: fields.slices.a: only fields.id may be $key"),
        ("memory: 3\n", ":5: memory: "),
        ("strategy:\n", ":5: strategy: "),
        ("seed:\n", ":5: seed: "),
        ("1: 2\n", "keys should be strings"),
        ("name: twice\n", ":5: name stands twice, first in line 1"),
        ("learner: {seed: 1, momentum: 0, seed: 2}\n", ":5: learner.seed stands twice, first in line 5"),
        ("learner: [\n", "is not valid YAML"),
        ("x: 2026-13-45\n", "is not valid YAML"),
        ("x: &x {y: *x}\n", "contains itself"),
        ("name: !tag 1\n", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(write, more, expected):
    text = refusal(write(more))
    assert "support.yaml" in text
    assert expected in text


def floats(model, where=()):
    """Every place of a section that takes a float."""
    for key, info in model.model_fields.items():
        if hasattr(info.annotation, "model_fields"):
            yield from floats(info.annotation, (*where, key))
        elif info.annotation is float or float in getattr(info.annotation, "__args__", ()):
            yield ".".join((*where, key))


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1.0e+999"])
def test_a_number_is_finite(write, value):
    names = list(floats(Root))
    assert {"learner.max_wait_seconds", "snapshots.every_seconds"} < set(names)
    text = refusal(write(), [f"{name}={value}" for name in names])
    for name in names:
        assert f"--set: {name}: input should be a finite number (name a large one where nothing is to be bound" in text


@pytest.mark.parametrize("path", COMPONENTS, ids=".".join)
def test_a_number_of_a_component_is_finite(path):
    family = COMPONENTS[path]
    for name in family:
        settings = family.settings(name)
        for key in floats(settings):
            with pytest.raises(ValueError, match="finite_number"):
                settings.model_validate({key: float("inf")})


def test_a_section_whose_lines_are_commented_out_has_its_defaults(write):
    more = "learner:\n  # batch_size: 4\nsnapshots:\nfields:\nmemory:\n"
    base = MINIMAL.replace("topics: {events: support-tickets}", "topics: {events: support-tickets}, client: ")
    settings = load(write(more, base=base), environment={})
    assert settings.root == load(write(), environment={}).root
    assert settings.root.snapshots.path == "./state/support"
    assert origins(settings.show())["learner", "batch_size"] == "default"
    over = load(write(more, base=base), ["learner.batch_size=4", "kafka.client.client.rack=a"], {})
    assert (over.root.learner.batch_size, over.root.kafka.client) == (4, {"client.rack": "a"})
    assert check(yaml.safe_load(MINIMAL + more)).root == load(write(), environment={}).root
    assert load(write(more), environment={}, base={"learner": {"batch_size": 7}}).root.learner.batch_size == 7
    assert load(write("drift:\n  error:\n"), environment={}).root.drift.error is None
    assert ":3: model.name: is required" in refusal(write(base=MINIMAL.replace(MINIMAL.split("\n")[2], "model:")))


def test_a_component_suggests_its_own_settings(write):
    path = write(base=MINIMAL.replace("sequence-classification", "sequence-classification, lables: [a]"))
    assert ":4: task.lables: there is no such setting; did you mean 'labels'?" in refusal(path)


def test_what_is_missing_is_named(write):
    text = refusal(write(base="kafka: {topics: {}}\ntask: sequence-classification\n"))
    for name in ("name", "kafka.topics.events", "model"):
        assert f"{name}: is required" in text


def test_all_errors_are_told_at_once(write):
    path = write(
        "lerner: {}\nserving: {top_k: 0, max_batch: x}\nstrategy: err\nmemory: {policy: {name: reservoir, x: 1}}\n"
    )
    text = refusal(path, ["metrics.port=-1"], {"STREAMLEARN_LIMITS__LABELS": "1"})
    for name in ("lerner", "serving.top_k", "serving.max_batch", "strategy.name", "memory.policy.x"):
        assert f": {name}: " in text
    assert "--set: metrics.port: " in text
    assert "STREAMLEARN_LIMITS__LABELS: limits.labels: " in text
    assert len(text.splitlines()) == 8


def test_topics_differ(write):
    assert "must be different topics" in refusal(write(), ["kafka.topics.predictions=support-tickets"])
    assert "must be different topics" in refusal(write(), ["kafka.topics.labels=support-tickets"])
    assert "ids are remembered" in refusal(write(), ["kafka.topics.labels=answers", "joiner.window=0"])


def test_a_missing_file_names_the_near_one(write):
    path = write()
    assert "did you mean" in (text := refusal(path.with_name("suport.yaml")))
    assert str(path) in text
    assert "there is no such file" in refusal(path.parent / "nowhere" / "x.yaml")
    assert "cannot be read" in refusal(path.parent)


@pytest.mark.parametrize("text", ["", "- a\n", "text\n"])
def test_a_file_without_settings(write, text):
    assert "holds no settings" in refusal(write(base=text))


def test_bytes_that_are_no_text(write):
    path = write()
    path.write_bytes(b"\xff\xfe\xff")
    assert "not UTF-8" in refusal(path)


@pytest.mark.parametrize("text", ["learner.batch_size", "=1", "learner..x=1", "learner.batch_size=[", "name.x=1"])
def test_a_wrong_set_is_refused(write, text):
    assert "--set" in refusal(write(), [text])


def test_kafka_client_keys_have_dots(write):
    environment = {
        "STREAMLEARN_KAFKA__CLIENT__SECURITY_PROTOCOL": "SASL_SSL",
        "STREAMLEARN_KAFKA__CLIENT__SASL__MECHANISM": "PLAIN",
    }
    settings = load(write(), ["kafka.client.sasl.username=me"], environment)
    assert settings.root.kafka.client == {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "me",
    }
    assert origins(settings.show())["kafka", "client", "sasl.username"] == "--set"
    assert load(write(), environment={"STREAMLEARN_KAFKA__CLIENT": "{a.b: 1}"}).root.kafka.client == {"a.b": 1}


@pytest.mark.parametrize("value", ["{file: secret}", "{env: SECRET}"])
@pytest.mark.parametrize("way", ["file", "set"])
def test_secrets_are_read_and_never_shown(write, value, way):
    path = write(f"seed: 1\n{'metrics: {host: ' + value + '}' if way == 'file' else ''}\n")
    path.with_name("secret").write_text(f"{SECRET}\n")
    settings = load(path, [f"metrics.host={value}"] if way == "set" else [], {"SECRET": SECRET})
    assert settings.root.metrics.host == SECRET
    shown = settings.show()
    assert SECRET not in shown
    assert yaml.safe_load(shown)["metrics"]["host"] == "********"


def test_a_name_that_is_secret_does_not_show_in_what_follows_from_it(write):
    settings = load(write(), ["name={env: SECRET}"], {"SECRET": SECRET})
    assert settings.root.kafka.group_id == f"streamlearn.{SECRET}"
    assert SECRET not in settings.show()


@pytest.mark.parametrize(
    "place",
    ["metrics.port", "seed", "name", "strategy", "strategy.name", "memory.policy.name", "kafka", "kafka.start",
     "kafka.client", "learner.optimizer", "fields.id", "fields.slices", "task.labels", "kafka.topics", "lerner"],
)  # fmt: skip
def test_no_error_tells_a_secret(write, place):
    secret = f"${SECRET} .."
    assert place.split(".", maxsplit=1)[0] in refusal(write(), [f"{place}={{env: SECRET}}"], {"SECRET": secret})


@pytest.mark.parametrize("sign", ["*", "!", "&a *", "@", "%"])
def test_a_password_without_quotes_is_not_told(write, sign):
    assert "is not valid YAML" in refusal(write(f"x: {sign}{SECRET}\n"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [("{file: nowhere}", "the file nowhere cannot be read"), ("{env: NOWHERE}", "NOWHERE is not set")],
)
def test_a_secret_that_is_not_there(write, value, expected):
    text = refusal(write(f"metrics: {{host: {value}}}\n"))
    assert expected in text
    assert "support.yaml:5 metrics.host" in text


@pytest.mark.parametrize("key", SECRET_PROPERTIES + LOOKS_SECRET)
def test_passwords_of_the_client_are_hidden(write, key):
    settings = load(write(), [f"kafka.client.{key}={SECRET}"], {})
    assert settings.root.kafka.client[key] == SECRET
    assert SECRET not in settings.show()
    assert yaml.safe_load(settings.show())["kafka"]["client"][key] == "********"
    assert f"kafka.client.{key}" in refusal(write(), [f"kafka.client.{key}={{a: {SECRET}}}"])
    assert "2026" not in refusal(write(), [f"kafka.client.{key}=2026-01-02"])


def test_a_password_in_a_url_is_hidden(write):
    url = f"s3://me:{SECRET}@bucket/a?key={SECRET}"
    shown = load(write(), [f"snapshots.path={url}"], {}).show()
    assert yaml.safe_load(shown)["snapshots"]["path"] == "s3://********@bucket/a?********"
    assert "metrics.port" in refusal(write(), [f"metrics.port={url}"])


def test_what_is_no_setting_is_told_without_what_stands_behind_it(write):
    assert "--set" in refusal(write(), [f"kafka.client.sasl.password:{SECRET}"])


def test_what_is_shown_is_the_effective_configuration(write):
    more = """\
strategy: finetune
memory:
  policy: class-balanced
fields:
  slices: {region: customer.region, "odd: name": a}
  text: 'body'
metrics: {host: "#1: 'x'"}
learner: {max_steps: 3, learning_rate: 1e-5}
snapshots: {path: "a\\n b"}
"""
    settings = load(write(more), ["serving.top_k=5", "kafka.client={client.rack: 'a, b'}"], {"STREAMLEARN_SEED": "3"})
    shown = settings.show()
    effective = settings.root.model_dump(mode="json")
    effective["task"] |= {"labels": None}
    for signal in SIGNALS:
        effective["drift"][signal] |= settings.components["drift", signal].model_dump(mode="json")
    assert yaml.safe_load(shown) == effective
    found = origins(shown.replace("'odd: name'", "odd"))
    assert len(found) == len(list(leaves(effective)))
    expected = {
        "name": "support.yaml:1",
        "kafka.topics.predictions": "from name",
        "kafka.group_id": "from name",
        "kafka.start": "default",
        "strategy.name": "support.yaml:5",
        "memory.policy.name": "support.yaml:7",
        "memory.capacity": "default",
        "fields.slices.region": "support.yaml:9",
        "fields.text": "support.yaml:10",
        "fields.id": "default",
        "serving.top_k": "--set",
        "serving.max_batch": "default",
        "seed": "STREAMLEARN_SEED",
        "task.labels": "default",
    }
    assert {name: found[tuple(name.split("."))] for name in expected} == expected
    assert found["kafka", "client", "client.rack"] == "--set"
    assert set(found.values()) <= {f"support.yaml:{n}" for n in range(1, 20)} | set(expected.values())


def test_what_is_shown_can_be_loaded(write):
    settings = load(write("strategy: finetune\n"), environment={})
    shown = settings.show()
    assert yaml.safe_load(load(write(base=shown), environment={}).show()) == yaml.safe_load(shown)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], []),
        (["learner.frozen_layers=2"], ["learner.frozen_layers"]),
        (["strategy=dual", "learner.frozen_layers=2"], ["learner.frozen_layers"]),
        (["strategy=dual", "learner.freeze=layers"], ["learner.freeze"]),
        (["strategy=ncm", "learner.momentum=0.5"], ["learner.momentum"]),
        (["strategy=ncm", "memory.capacity=5"], ["memory.capacity"]),
        (["memory.capacity=5"], []),
        (["drift.enabled=false"], []),
        (["drift={enabled: false, error: ddm, loss: null}"], ["drift.error"]),
        (["metrics.enabled=false", "metrics.window=5", "metrics.max_labels=5"], []),
        (
            ["metrics={enabled: false, port: 1, host: a}", "web.show_payloads=true"],
            ["metrics.host", "metrics.port", "web.show_payloads"],
        ),
        (["strategy=dual", "learner.freeze=encoder"], ["learner.freeze"]),
        (["learner.freeze=layers"], ["learner.freeze"]),
        (["learner.freeze=layers", "learner.frozen_layers=2"], []),
        (["learner.momentum=0.5"], ["learner.momentum"]),
        (["learner.momentum=0.5", "learner.optimizer=sgd"], []),
        (["learner.train_embeddings=true", "learner.freeze=encoder"], ["learner.train_embeddings"]),
        (["strategy=finetune", "learner.replay_size=3"], ["learner.replay_size"]),
        (["strategy=finetune", "memory.policy=ring"], ["memory.policy"]),
        (["strategy=finetune", "memory.policy=ring", "penalties=[ewc]"], []),
        (["strategy=finetune", "memory.retrieval=class-balanced"], ["memory.retrieval"]),
        (["learner.replay_size=0", "memory.retrieval=class-balanced"], ["memory.retrieval"]),
        (["memory.retrieval=class-balanced", "memory.policy=ring", "penalties=[lwf]"], []),
        (["model.name=package:x", "model.revision=main"], ["model.revision"]),
        (["model.revision=main"], []),
        (["joiner.ttl=5", "joiner.window=5"], ["joiner.ttl"]),
        (["joiner.ttl=5", "kafka.topics.labels=answers"], []),
        (["label_requests.at_random=0.5"], ["label_requests.at_random"]),
        (["label_requests={budget: 0.1, at_random: 0.5}"], []),
        (["strategy=dual", "learner.new_class=mean"], ["learner.new_class"]),
        (["strategy=ncm", "learner.new_class=mean"], ["learner.new_class"]),
    ],
)
def test_settings_without_effect_are_told(write, sets, expected):
    assert [line.partition(":")[0] for line in ignored(load(write(), ["strategy=er", *sets], {}).root)] == expected


def test_a_folder_in_ones_home_has_no_revision(write, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "my-model").mkdir()
    root = load(write(), ["model.name=~/my-model", "model.revision=main"], {}).root
    assert ignored(root) == ["model.revision: ignored, since model.name is not a hub id"]


def test_a_strategy_that_cannot_learn_the_task_is_refused(write):
    class Numbers:
        Config = Nothing
        classes = False

    path = write("strategy: ncm\n", base=MINIMAL.replace("sequence-classification", "number"))
    with tasks.registered("number", Numbers):
        text = refusal(path)
        assert ":5: strategy.name: it needs a task of classes, and 'number' has none" in text
        assert "(choose one of: derpp, er, finetune)" in text
        assert load(path, ["strategy=er"], {}).root.strategy.name == "er"
        assert "strategy.name: it needs a task of classes" in refusal(write(base=path.read_text()[:-14]))
    assert "there is no task named 'number'" in refusal(path)


METADATA = "Metadata-Version: 2.1\nName: others\nVersion: 1.0\n"
POINTS = """\
[streamlearn.task]
number = others:Number
[streamlearn.strategy]
raising = no_such_package:Strategy
stranger = pathlib:Path
"""
NUMBER = """\
from streamlearn.core.registry import Nothing

class Number:
    Config, classes = Nothing, False
"""


@pytest.fixture
def config(tmp_path):
    """Run `streamlearn config` beside a package of a task without classes, whose strategies cannot be loaded."""
    metadata = tmp_path / "site" / "others-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(METADATA)
    (metadata / "entry_points.txt").write_text(POINTS)
    (metadata.parent / "others.py").write_text(NUMBER)

    def config(*words):
        command = [sys.executable, "-m", "streamlearn", "config", *map(str, words)]
        environment = {**os.environ, "PYTHONPATH": str(metadata.parent)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return config


def test_what_cannot_be_loaded_stops_only_who_chooses_it(write, config):
    path = write()
    done = config("schema")
    assert done.returncode == 0, done.stderr
    names = json.loads(done.stdout)["properties"]["strategy"]["anyOf"][0]["enum"]
    assert "er" in names
    for name in ("raising", "stranger"):
        assert name not in names
        assert done.stderr.count(f"'{name}' cannot be loaded") == 1
        assert "left out" in done.stderr
        refused = config("check", path, "--set", f"strategy={name}")
        assert refused.returncode == 2
        assert f"'{name}' cannot be loaded" in refused.stderr
    path = write(base=MINIMAL.replace("sequence-classification", "number"))
    done = config("check", path, "--set", "strategy=er")
    assert (done.returncode, done.stderr) == (0, "")
    refused = config("check", path, "--set", "strategy=ncm")
    assert refused.returncode == 2
    assert "choose one of: derpp, er, finetune)" in " ".join(refused.stderr.split())


def test_penalties_are_a_list_of_components(write):
    settings = load(write("penalties: [lwf, {name: ewc, every: 7}]\n"), environment={})
    assert [config.every for path, config in settings.components.items() if path[0] == "penalties"] == [500, 7]
    shown = yaml.safe_load(settings.show())["penalties"]
    assert [(each["name"], each["every"]) for each in shown] == [("lwf", 500), ("ewc", 7)]
    assert shown[1]["decay"] == 0.9
    assert fingerprint.configuration(settings.root)["penalties"] == shown
    assert yaml.safe_load(load(write(base=settings.show()), environment={}).show())["penalties"] == shown


def test_a_secret_in_a_list_is_put_in_and_never_shown(write):
    settings = load(write("penalties: [{name: lwf, every: {env: EVERY}}]\n"), environment={"EVERY": "4711"})
    assert settings.components["penalties", "0"].every == 4711
    assert "4711" not in settings.show()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("penalties: [lwf, ewk]\n", ":5: penalties.1.name: there is no penalty named 'ewk'; did you mean 'ewc'?"),
        (
            "penalties: [{name: lwf, evry: 3}]\n",
            ":5: penalties.0.evry: there is no such setting; did you mean 'every'?",
        ),
        ("penalties: [{name: ewc, every: 0}]\n", ":5: penalties.0.every: input should be greater than or equal to 1"),
        ("penalties: lwf\n", ":5: penalties: input should be a valid tuple"),
        ("penalties: [{every: 3}]\n", ":5: penalties.0.name: is required"),
        ("penalties: [3]\n", ":5: penalties.0: "),
    ],
)
def test_what_is_wrong_with_a_penalty_is_named(write, more, expected):
    assert expected in refusal(write(more))


def test_the_environment_is_left_as_it_was(write):
    before = dict(os.environ)
    load(write(), ["seed=4"])
    assert dict(os.environ) == before


def test_one_text_in_the_place_of_all_properties_of_the_client_is_not_shown():
    with pytest.raises(ConfigError, match=r"kafka\.client: input should be a valid dictionary") as error:
        check({**(data := yaml.safe_load(MINIMAL)), "kafka": {**data["kafka"], "client": "sasl.password=hunter2"}})
    assert "hunter2" not in str(error.value)
