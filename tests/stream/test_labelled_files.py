"""The rows of a warm start are the same whatever kind of file they stand in; each is named by where it is."""

import gzip
import hashlib
import importlib.util
import json
import sys

import orjson
import pytest

from streamlearn.core.errors import ConfigError
from streamlearn.stream.labelled_files import CHUNK, WarmFile
from tests.conftest import missing

ROWS = [{"id": f"r{i}", "text": f"a, {i}", "label": "xy"[i % 2]} for i in range(5)]
LINES = b"".join(orjson.dumps(row) + b"\n" for row in ROWS)
TABLE = "id,text,label\n" + "".join(f'{row["id"]},"{row["text"]}",{row["label"]}\n' for row in ROWS)


@pytest.fixture
def arrow():
    if importlib.util.find_spec("pyarrow") is None:
        missing("pyarrow is not installed (./dev setup)")
    return pytest.importorskip("pyarrow")


def values(path):
    return [orjson.loads(row.value) for row in WarmFile(str(path)).rows()]


@pytest.mark.parametrize("name", ["h.jsonl", "h.jsonl.gz", "h.csv", "h.csv.gz", "h.txt"])
def test_lines_and_tables_with_or_without_gzip(tmp_path, name):
    data = TABLE.encode() if ".csv" in name else LINES
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert values(path) == ROWS
    first = 2 if ".csv" in name else 1
    assert [row.where for row in WarmFile(str(path)).rows()] == [f"line {first + i}" for i in range(5)]
    assert WarmFile(str(path)).sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_folder_is_its_files_by_name(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(LINES)
    (tmp_path / "a.csv").write_text(TABLE)
    (tmp_path / "README.md").write_text("not a row")
    found = list(WarmFile(str(tmp_path)).rows())
    assert [orjson.loads(row.value) for row in found] == ROWS + ROWS
    assert (found[0].where, found[-1].where) == ("a.csv line 2", "b.jsonl line 5")
    before = WarmFile(str(tmp_path)).sha256()
    (tmp_path / "b.jsonl").rename(tmp_path / "c.jsonl")
    assert WarmFile(str(tmp_path)).sha256() != before


def test_what_is_not_there_is_named_with_the_nearest(tmp_path):
    (tmp_path / "history.jsonl").write_bytes(LINES)
    with pytest.raises(ConfigError, match=r"(?s)warm_start: .*histroy.jsonl: there is no such.*mean .*history.jsonl"):
        WarmFile(str(tmp_path / "histroy.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no file of rows"):
        WarmFile(str(tmp_path / "empty"))


def test_several_splits_are_not_one(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(ConfigError, match=r"(?s)several splits: test, train.*name one of them"):
        WarmFile(str(tmp_path))


def test_without_pyarrow_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # as where it is not installed
    (tmp_path / "h.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"(?s)pyarrow.*pip install 'streamlearn\[arrow\]'"):
        WarmFile(str(tmp_path / "h.parquet"))


def saved(arrow, folder, parts):
    """What `save_to_disk` of datasets 4 writes: streams of Arrow with a schema that names the class labels."""
    features = {
        "id": {"dtype": "string", "_type": "Value"},
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["x", "y"], "_type": "ClassLabel"},
    }
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    fields = [("id", arrow.string()), ("text", arrow.string()), ("label", arrow.int64())]
    schema = arrow.schema(fields, metadata=metadata)
    folder.mkdir()
    names = []
    for number, rows in enumerate(parts):
        names.append(f"data-{number:05d}-of-{len(parts):05d}.arrow")
        columns = [[row["id"] for row in rows], [row["text"] for row in rows], [row["number"] for row in rows]]
        table = arrow.table(
            [arrow.array(column, type=kind) for column, (_, kind) in zip(columns, fields, strict=True)], schema=schema
        )
        with arrow.OSFile(str(folder / names[-1]), "wb") as sink, arrow.ipc.new_stream(sink, schema) as writer:
            writer.write_table(table, max_chunksize=2)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return table


def test_a_data_set_of_hugging_face_with_its_class_labels(arrow, tmp_path):
    rows = [{**row, "number": i % 2} for i, row in enumerate(ROWS)]
    rows[4]["number"] = -1
    saved(arrow, tmp_path / "set", [rows[:3], rows[3:]])
    (tmp_path / "set" / "cache-1f8a.arrow").write_bytes(b"of another day")
    expected = [*ROWS[:4], {**ROWS[4], "label": None}]
    assert values(tmp_path / "set") == expected
    assert [row.where for row in WarmFile(str(tmp_path / "set")).rows()][3] == "data-00001-of-00002.arrow row 1"


def test_parquet_and_the_file_form_of_arrow(arrow, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({key: [row[key] for row in ROWS] for key in ROWS[0]})
    table = table.append_column("picture", arrow.array([b"\xff"] * 5))
    parquet.write_table(table, tmp_path / "h.parquet")
    with arrow.OSFile(str(tmp_path / "h.arrow"), "wb") as sink, arrow.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("h.parquet", "h.arrow"):
        assert values(tmp_path / name) == [{**row, "picture": None} for row in ROWS]


@pytest.mark.parametrize("name", ["h.parquet", "h.arrow"])
def test_what_is_not_what_its_name_says_is_refused(arrow, tmp_path, name):
    (tmp_path / name).write_bytes(b"something else that is long enough")
    with pytest.raises(ConfigError, match=f"(?s)warm_start: .*{name}: cannot be read.*check its rights"):
        values(tmp_path / name)


def test_a_large_file_is_hashed_with_signs_of_life(tmp_path):
    path, signs = tmp_path / "h.jsonl", []
    path.write_bytes(bytes(3 * CHUNK + 1))
    WarmFile(str(path)).sha256(lambda: signs.append(1))
    assert len(signs) == 4
