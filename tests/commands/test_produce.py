"""A file's lines become values as they are; a CSV becomes JSON, or is refused with the line that is wrong."""

import io

import orjson
import pytest

from streamlearn.commands.produce import _key
from streamlearn.core.errors import ConfigError
from streamlearn.stream.files import records


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
