"""The command line: what is wrong is one message with where, what and how to mend it; exit codes as promised.

2 is for a wrong call or configuration, 75 for surroundings that failed. Never a traceback.
"""

import re
import signal

import pytest
from pydantic import BaseModel, ValidationError

from streamlearn.commands.cli import _brief
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.transport import Message
from tests.kafka.helpers import Process, call, configuration, until

COMMANDS = [
    *("run", "demo", "produce", "tail", "doctor", "replay", "evaluate", "inspect", "export"),
    *("config show", "config check", "config schema", "dashboards export"),
]
AWAY = "127.0.0.1:1"  # nobody listens there


@pytest.fixture
def config(tmp_path, tiny):
    """Return a configuration with a broker that nobody needs."""
    return configuration(
        tmp_path, name="cli", address=AWAY, events="tickets", model=tiny, limits={"connect_seconds": 2}
    )


def refused(done, code, *words):
    """See that a command ended with the code and one message that has the words and a mend."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for word in words:
        assert word in done.stderr
    assert done.stderr.count("error:") == 1
    assert "\n  -> " in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command):
    done = call(*command.split(), "--help")
    assert done.returncode == 0
    assert f"Example: streamlearn {command}" in " ".join(done.stdout.split())


def test_these_are_all_commands():
    listed = {command.split()[0] for command in COMMANDS}
    assert set(re.findall(r"^  ([a-z-]+)  ", call("--help").stdout.partition("Commands:")[2], re.MULTILINE)) == listed


def test_a_broker_that_does_not_answer_is_temporary(config):
    done = call("run", config)
    refused(done, 75, AWAY, "no Kafka broker answers within 2 s", "check that the broker runs")


@pytest.mark.parametrize("command", ["tail", "produce"])
def test_a_client_says_that_no_broker_answers(tmp_path, command):
    file = tmp_path / "events.jsonl"
    file.write_text('{"text": "w1"}\n')
    arguments = ["tail", "tickets"] if command == "tail" else ["produce", file, "--topic", "tickets"]
    refused(call(*arguments, "--bootstrap-servers", AWAY), 75, AWAY, "check that the broker runs")


@pytest.mark.parametrize("command", ["run", "config check"])
def test_an_unknown_key_is_refused_with_the_nearest(config, command):
    done = call(*command.split(), config, "--set", "learner.batchsize=3")
    refused(done, 2, "--set", "learner.batchsize", "did you mean 'batch_size'?")


def test_a_missing_file_is_refused_with_the_nearest(config):
    refused(call("run", config.with_name("cil.yaml")), 2, "cil.yaml", f"did you mean {config}?")


def test_a_model_package_that_is_not_installed_is_refused(config):
    embedded = "kafka.bootstrap_servers=embedded"
    done = call("run", config, "--set", embedded, "--set", "model.name=package:no_such_model", "--until-idle", "1")
    refused(done, 2, "no_such_model")


def test_a_state_folder_that_cannot_be_written_is_refused(tmp_path, config):
    (tmp_path / "file").touch()
    done = call("run", config, "--set", f"snapshots.path={tmp_path}/file/state")
    refused(done, 2, f"snapshots.path: {tmp_path}/file/state", "name a folder that this user may write")


def test_a_file_of_events_that_is_not_there_is_refused(kafka, new_topic):
    done = call("produce", "no-such.jsonl", "--topic", new_topic("events"), "--bootstrap-servers", kafka)
    refused(done, 2, "no-such.jsonl", "give the path of a file")


@pytest.mark.parametrize(
    "arguments",
    [
        ["rnu"],
        ["run"],
        ["produce", "-"],
        ["run", "x.yaml", "--until-idel", "3"],
        ["run", "x.yaml", "--max-events", "x"],
    ],
)
def test_a_wrong_call_shows_how_it_is_called(arguments):
    done = call(*arguments)
    assert done.returncode == 2
    assert "Usage: " in done.stderr
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_an_events_topic_that_is_missing_is_refused_with_the_nearest(tmp_path, kafka, new_topic, tiny):
    there = new_topic("support-tickets")
    config = configuration(tmp_path, name="cli", address=kafka, events=f"{there[:-1]}", model=tiny)
    refused(call("run", config), 2, kafka, f"the topic '{there[:-1]}' does not exist", f"did you mean '{there}'?")


def test_a_tail_of_a_topic_that_is_missing_is_refused_with_the_nearest(kafka, new_topic):
    there = new_topic("predictions")
    done = call("tail", there[:-1], "--bootstrap-servers", kafka)
    refused(done, 2, kafka, f"the topic '{there[:-1]}' does not exist", f"did you mean '{there}'?")


def test_tail_shows_what_produce_sent(kafka, new_topic):
    topic = new_topic("events")
    sent = call(
        "produce", "-", "--topic", topic, "--bootstrap-servers", kafka, stdin=b'{"text": "w1"}\n\n{"text": "w2"}'
    )
    assert sent.returncode == 0, sent.stderr
    assert "sent 2 records" in sent.stderr
    tail = ["tail", topic, "--bootstrap-servers", kafka, "--from-beginning", "--max-messages", "2"]
    assert [line.split(" ", 2)[2].strip() for line in call(*tail).stdout.splitlines()] == [
        '{"text": "w1"}',
        '{"text": "w2"}',
    ]
    shown = call(*tail, "--json").stdout.splitlines()
    assert len(shown) == 2
    assert '"value":{"text":"w2"}' in shown[1]


def test_doctor_names_what_is_missing_and_creates_it(tmp_path, kafka, fresh_name, tiny):
    name, events = fresh_name("doctor"), fresh_name("events")
    config = configuration(tmp_path, name=name, address=kafka, events=events, model=tiny)
    done = call("doctor", config)
    assert done.returncode == 1, done.stderr
    states = dict(line.split()[1::-1] for line in done.stdout.splitlines() if not line.startswith(" "))
    assert states == {
        "configuration": "ok",
        "broker": "ok",
        "topics": "FAIL",
        "model": "ok",
        "processors": "ok",
        "folder": "ok",
        "metrics": "ok",
    }
    assert f"the topic '{events}' does not exist" in done.stdout
    assert "--fix" in done.stdout

    done = call("doctor", config, "--fix")
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(topic in done.stdout for topic in (events, f"{name}.predictions", f"{name}.dead-letters"))
    assert "FAIL" not in done.stdout

    run = call("run", config, "--until-idle", "0.5")
    assert run.returncode == 0, run.stderr


@pytest.mark.slow
def test_doctor_goes_on_where_no_broker_answers(config):
    done = call("doctor", config)
    assert done.returncode == 1
    lines = [line.split()[:2] for line in done.stdout.splitlines() if not line.startswith(" ")]
    assert ["FAIL", "broker"] in lines
    assert ["ok", "model"] in lines
    assert "Traceback" not in done.stdout + done.stderr


def test_checking_a_configuration_names_a_warm_start_that_is_not_there(tmp_path):
    (tmp_path / "history.jsonl").write_text("{}\n")
    config = tmp_path / "c.yaml"
    config.write_text(
        "name: x\nkafka: {topics: {events: e}}\nmodel: {name: y}\ntask: sequence-classification\n"
        f"warm_start: {tmp_path}/histroy.jsonl\n"
    )
    done = call("config", "check", config)
    assert done.returncode == 2
    assert f"did you mean {tmp_path}/history.jsonl?" in done.stderr
    assert call("config", "check", config, "--set", f"warm_start={tmp_path}/history.jsonl").returncode == 0


@pytest.fixture
def embedded():
    """Yield the address of a broker with a topic that holds a record."""
    with EmbeddedBroker() as broker:
        broker.ensure_topics(["tickets"])
        outlet = KafkaOutlet(KafkaSettings(broker.bootstrap_servers))
        outlet.send("tickets", [Message(b"{}")])
        outlet.commit({})
        outlet.close()
        yield broker.bootstrap_servers


@pytest.fixture
def _interruptible():
    """Let what is started be interrupted, also where nobody could interrupt the tests."""
    old = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, old)


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_says_that_it_stopped(tmp_path, embedded):
    tail = ["tail", "tickets", "--from-beginning", "--json"]
    with Process(tmp_path, *tail, "--bootstrap-servers", embedded) as process:
        until(lambda: process.out, 60, lambda: process.err)
        process.popen.send_signal(signal.SIGINT)
        assert process.ends() == 130
        assert process.err.splitlines()[-1] == "stopped"


@pytest.mark.usefixtures("_interruptible")
def test_ctrl_c_lets_arrive_what_was_sent(tmp_path, embedded):
    tail = ["tail", "tickets", "--bootstrap-servers", embedded, "--from-beginning", "--max-messages"]
    with Process(tmp_path, "produce", "-", "--topic", "tickets", "--bootstrap-servers", embedded) as process:
        process.types("1", "2", "3")
        call(*tail, "4")  # they are in the topic, and the last two of them wait for a word of the broker's
        process.popen.send_signal(signal.SIGINT)
        assert process.ends() == 130
        assert re.fullmatch(r"sent 3 records to tickets in [0-9.]+ s\nstopped\n", process.err)


def test_a_bug_is_told_by_its_kind_and_the_first_line_that_it_says():
    class Model(BaseModel):
        number: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"number": "x"})
    assert _brief(caught.value) == "ValidationError: 1 validation error for Model"
    assert _brief(RuntimeError("\nfirst\nsecond")) == "RuntimeError: first"
    assert _brief(KeyError("labels")) == "KeyError: 'labels'"
    assert _brief(AssertionError()) == "AssertionError"
