"""Where the state goes is tried out, not believed. The other checks: tests/commands/test_cli.py."""

from secrets import token_hex

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import register_implementation

from streamlearn.commands.doctor import examine
from streamlearn.commands.process import lock
from streamlearn.durability.snapshots import Snapshots
from tests.kafka.helpers import configuration


class ReadOnly(MemoryFileSystem):
    """An object store whose user may look, and no more."""

    protocol = "readonly"

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.rpartition("://")[2].strip("/")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        raise PermissionError("no")


register_implementation("readonly", ReadOnly, clobber=True)


@pytest.fixture
def told(tmp_path, tiny, monkeypatch, capsys):
    """Return what `doctor` says of each thing with the snapshots at a path, and its exit code."""
    monkeypatch.chdir(tmp_path)  # the lock's folder is beside

    def told(path):
        config = configuration(tmp_path, name="d", address="embedded", events="e", model=tiny, snapshots={"path": path})
        code = examine(config, [], fix=False)
        lines = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
        return {name: (state, text) for state, name, text in lines}, code

    return told


def test_an_object_store_is_written_to_and_left_as_it_was(told):
    path = f"memory://{token_hex(8)}/state"
    found, code = told(path)
    assert code == 0, found
    assert found["snapshots"] == ("ok", f"{path} can be listed, written, read and deleted from")
    assert found["lock"] == ("ok", "state/d can be written")
    assert not MemoryFileSystem().find(path)
    assert Snapshots(path).names() == []


def test_an_object_store_that_refuses_is_told(told):
    found, code = told(f"readonly://{token_hex(8)}/state")
    assert code == 1
    assert found["snapshots"][0] == "FAIL"
    assert "a file cannot be written: PermissionError" in found["snapshots"][1]
    assert found["lock"][0] == "ok"


def test_a_url_that_nothing_knows_is_told(told):
    found, code = told("nowhere://bucket/state")
    assert code == 1
    assert "no such storage can be used" in found["snapshots"][1]


def test_a_local_folder_is_tried_by_its_lock(told, tmp_path):
    state = tmp_path / "here"
    found, code = told(str(state))
    assert code == 0
    assert found["folder"] == ("ok", f"{state} can be written")
    with lock(state):
        found, code = told(str(state))
    assert code == 0
    assert found["folder"][1].startswith(f"{state} is in use: another run")
