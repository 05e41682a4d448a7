"""A file's lines become values as they are; a CSV becomes JSON, or is refused with the line that is wrong. What is
counted as sent is what the broker has."""

import io
import os
import threading
import time

import orjson
import pytest

from streamlearn.commands.produce import Sender, _key, produce
from streamlearn.core.errors import BrokerError, ConfigError
from streamlearn.stream.files import records
from streamlearn.stream.kafka.client import KafkaSettings
from streamlearn.stream.kafka.embedded import EmbeddedBroker
from streamlearn.stream.kafka.outlet import KafkaOutlet
from streamlearn.stream.kafka.source import read
from streamlearn.stream.transport import Message
from tests.kafka.helpers import call


def values(data, *, as_csv=False):
    return list(records(io.BytesIO(data), as_csv=as_csv))


def test_lines_go_as_they_are():
    assert values(b'{"a": 1}\r\n\nnot json\n\xff') == [b'{"a": 1}', b"not json", b"\xff"]


def test_a_csv_with_a_byte_order_mark_becomes_json():
    rows = values('\ufeffid,text,label\n1,"a, b",\n'.encode(), as_csv=True)
    assert list(map(orjson.loads, rows)) == [{"id": "1", "text": "a, b"}]


@pytest.mark.parametrize(
    ("data", "where", "what"),
    [
        (b"id;text\n1;a\n", "line 1", "one column"),
        (b"id\ttext\n1\ta\n", "line 1", "one column"),
        (b"id,text\n1,a\n2,b,c\n", "line 3", "more columns"),
        (b"id,text\n1,\xff\n", "CSV", "not UTF-8"),
    ],
)
def test_a_csv_that_cannot_be_meant_is_refused(data, where, what):
    with pytest.raises(ConfigError, match=what) as caught:
        values(data, as_csv=True)
    assert where in str(caught.value.where)


def test_keys():
    assert _key(b'{"id": 7}', "id") == b"7"
    assert _key(b'{"id": 7}', "idd") is None
    assert _key(b"[", "id") is None
    assert _key(b'{"id": 7}', None) is None


@pytest.fixture
def broker():
    with EmbeddedBroker() as broker:
        broker.ensure_topics(["tickets"])
        yield broker


def there(broker):
    settings = KafkaSettings(broker.bootstrap_servers, client=broker.client)
    return sorted(record.value for record in read(settings, "tickets", until_end=True))


def test_a_pipe_is_read_once(tmp_path, broker, capsys):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(b"1\n\n2\n",))
    writer.start()
    produce(str(pipe), "tickets", broker.bootstrap_servers, rate=None, key=None)
    writer.join()
    done = call(
        "produce", "/dev/stdin", "--topic", "tickets", "--bootstrap-servers", broker.bootstrap_servers, stdin=b"3"
    )
    assert done.returncode == 0, done.stderr
    assert "sent 2 records" in capsys.readouterr().err
    assert there(broker) == [b"1", b"2", b"3"]


def test_what_comes_before_a_bad_row_is_sent(tmp_path, broker, capsys):
    file = tmp_path / "tickets.csv"
    file.write_text("id\n1\n2\n3,x\n")
    with pytest.raises(ConfigError, match="more columns"):
        produce(str(file), "tickets", broker.bootstrap_servers, rate=None, key=None)
    assert capsys.readouterr().err.startswith("sent 2 records to tickets in ")
    assert there(broker) == [b'{"id":"1"}', b'{"id":"2"}']


def test_a_rate_is_kept(tmp_path, broker, capsys):
    file = tmp_path / "tickets.jsonl"
    file.write_text("1\n" * 30)
    start = time.monotonic()
    produce(str(file), "tickets", broker.bootstrap_servers, rate=20, key="id")
    assert time.monotonic() - start >= 1.5
    assert len(there(broker)) == 30
    assert "30 of them have no field 'id'" in capsys.readouterr().err


def test_what_a_broker_that_died_never_confirmed_is_not_counted():
    with EmbeddedBroker() as broker:
        broker.ensure_topics(["tickets"])
        sender = Sender(KafkaOutlet(KafkaSettings(broker.bootstrap_servers), commit_timeout=1), "tickets")
        sender.send(Message(b"1"))
        assert sender.confirm() == 1
    for _ in range(2):
        sender.send(Message(b"2"))
    with pytest.raises(BrokerError):
        sender.confirm()
    sender.close()
    assert (sender.handed, sender.sent) == (3, 1)


def test_what_is_on_its_way_when_all_ends_is_counted_where_it_arrives(broker):
    sender = Sender(KafkaOutlet(KafkaSettings(broker.bootstrap_servers)), "tickets")
    for number in range(200):
        sender.send(Message(b"%d" % number))
    sender.close()
    assert (sender.handed, sender.sent, len(there(broker))) == (200, 200, 200)
