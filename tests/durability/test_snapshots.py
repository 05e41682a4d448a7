"""A snapshot comes back bit for bit, damage is always found, and only what is no longer needed is deleted."""

import json
from secrets import token_hex

import fsspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.durability.snapshots import DamagedSnapshotError, SnapshotError, Snapshots, name
from tests.snapshots import LATER, NEW, NEXT, OLD, STATE, WHOLE, same

torch.set_num_threads(1)


@pytest.fixture(params=["folder", "file url", "object store"])
def place(request, tmp_path):
    """Name a place to store snapshots in; the second is a local folder too."""
    return {
        "folder": f"{tmp_path}/not/yet",
        "file url": f"file://{tmp_path}/not/yet",
        "object store": f"memory://{token_hex(8)}/state",
    }[request.param]


def test_what_an_optimizer_gives_it_takes_back(place):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    Snapshots(place).write(NEW, {"optimizer": state, "model": model.state_dict()}, made_by={})
    loaded = Snapshots(place).load(NEW).state
    assert same(loaded["optimizer"], state)
    assert same(loaded["model"], dict(model.state_dict()))
    torch.optim.AdamW(model.parameters()).load_state_dict(loaded["optimizer"])


@pytest.mark.parametrize(
    "value", [np.zeros(2), np.float64(1), {1.5: 1}, {None: 1}, {1, 2}, b"x", object(), torch.eye(2).to_sparse()]
)
def test_what_is_no_state_is_refused_and_nothing_stays(tmp_path, value):
    store = Snapshots(str(tmp_path))
    with pytest.raises(AssertionError, match=r"^part\.key\.0: "):
        store.write(NEW, {"ok": {"x": torch.ones(2)}, "part": {"key": [value]}}, made_by={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("part", ["manifest", "", "../x", "a/b", "A", "a.b"])
def test_parts_have_plain_names(tmp_path, part):
    with pytest.raises(AssertionError):
        Snapshots(str(tmp_path)).write(NEW, {part: {}}, made_by={})


def test_the_manifest_tells_of_its_making(place):
    store = Snapshots(place)
    digest = store.write(NEW, STATE, made_by={"version": "0.1", "seed": 3}, now=12.5)
    loaded = store.load(NEW, digest)
    assert same(loaded.state, STATE)
    manifest = loaded.manifest
    assert (manifest.format, manifest.name, manifest.created) == (1, NEW, 12.5)
    assert manifest.made_by == {"version": "0.1", "seed": 3}
    assert set(manifest.files) == WHOLE - {"manifest.json"}
    again = Snapshots(f"memory://{token_hex(8)}")
    assert again.write(NEW, STATE, made_by={"version": "0.1", "seed": 3}, now=12.5) == digest, (
        "the bytes are repeatable"
    )
    with pytest.raises(DamagedSnapshotError, match="not the one that was asked for"):
        store.load(NEW, "0" * 64)


def test_names_come_in_order_and_are_taken_once(place):
    store = Snapshots(place)
    assert (store.names(), store.sweep(), store.exists(NEW)) == ([], [], False)
    for each in (NEW, OLD, NEXT):
        store.write(each, STATE, made_by={})
    assert store.names() == [OLD, NEW, NEXT]
    assert store.exists(NEW)
    with pytest.raises(SnapshotError, match="exists already"):
        store.write(NEW, LATER, made_by={})
    assert same(store.load(NEW).state, STATE)
    store.delete(NEW)
    store.delete(NEW)
    assert store.names() == [OLD, NEXT]
    with pytest.raises(DamagedSnapshotError, match=rf"{NEW}: manifest.json is missing\n  -> use an older"):
        store.load(NEW)


@pytest.mark.parametrize(
    "bad", ["", "..", "../x", f"{NEW}/../{OLD}", f"{NEW}.tmp", f"{NEW}\n", NEW.replace("0", "\u0660")]
)
def test_no_name_leads_elsewhere(tmp_path, bad):
    store = Snapshots(str(tmp_path))
    for call in (store.load, store.delete, store.exists, store.sweep, lambda each: store.write(each, {}, made_by={})):
        with pytest.raises(SnapshotError, match="is no name of a snapshot"):
            call(bad)


def test_names_sort_as_incarnation_and_sequence_do():
    assert name(3, 1234) == "snapshot-00000003-000000001234"
    numbers = [(0, 0), (0, 9), (0, 10), (1, 0), (9, 10**12 - 1), (10, 0), (10**8 - 1, 1)]
    assert sorted(name(*each) for each in numbers) == [name(*each) for each in numbers]
    for bad in ((10**8, 0), (0, 10**12), (-1, 0)):
        with pytest.raises(AssertionError):
            name(*bad)


def harmed(data, kind, at, bit):
    """Return something else than `data`."""
    match kind:
        case "flip":
            return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
        case "cut":
            return data[:at]
        case "longer":
            return data + bytes([bit])
        case _:
            return bytes([data[0] ^ 1]) + data[1:at] + bytes(len(data) - max(at, 1))  # a page that was never written


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    """Return a store with one snapshot, and the digest of its manifest; a test leaves both as they were."""
    folder = tmp_path_factory.mktemp("whole")
    digest = Snapshots(str(folder)).write(NEW, STATE, made_by={"version": "0.1"}, now=1.0)
    return folder, digest


@given(
    st.sampled_from(sorted(WHOLE)),
    st.sampled_from(["flip", "cut", "longer", "zeros"]),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 7),
)
@settings(max_examples=300, deadline=None)
def test_damage_anywhere_is_found(whole, file, kind, where, bit):
    folder, digest = whole
    store = Snapshots(str(folder))
    path = folder / NEW / file
    data = path.read_bytes()
    try:
        path.write_bytes(harmed(data, kind, int(where * len(data)), bit))
        with pytest.raises(DamagedSnapshotError) as caught:
            store.load(NEW, digest)
        assert caught.value.where == str(path.parent)
        assert caught.value.what.startswith(file)
        assert caught.value.mend
        # Without its digest the manifest may lie of its making, never of the state.
        try:
            assert same(store.load(NEW).state, STATE)
            found = False
        except SnapshotError:
            found = True
        assert found or file == "manifest.json"
    finally:
        path.write_bytes(data)


@pytest.mark.parametrize("file", sorted(WHOLE))
def test_a_missing_file_is_found(place, file):
    store = Snapshots(place)
    store.write(NEW, STATE, made_by={})
    files, root = fsspec.core.url_to_fs(place)
    files.rm_file(f"{root}/{NEW}/{file}")
    with pytest.raises(DamagedSnapshotError, match=f"{file} is missing"):
        store.load(NEW)


def test_a_renamed_snapshot_and_a_foreign_manifest_are_found(tmp_path):
    store = Snapshots(str(tmp_path))
    store.write(OLD, STATE, made_by={})
    (tmp_path / OLD).rename(tmp_path / NEW)
    with pytest.raises(DamagedSnapshotError, match=f"belongs to {OLD}"):
        store.load(NEW)
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 0}', '{"format": "2"}'):
        (tmp_path / NEW / "manifest.json").write_text(text)
        with pytest.raises(DamagedSnapshotError, match=r"manifest\.json is no manifest"):
            store.load(NEW)


def test_no_file_outside_the_snapshot_is_read(tmp_path):
    store = Snapshots(str(tmp_path))
    store.write(NEW, {"model": {}}, made_by={})
    path = tmp_path / NEW / "manifest.json"
    path.write_text(path.read_text().replace("model.json", "../model.json"))
    with pytest.raises(DamagedSnapshotError, match="is no manifest"):
        store.load(NEW)


def test_a_newer_format_is_refused_with_the_mend(tmp_path):
    store = Snapshots(str(tmp_path))
    store.write(NEW, STATE, made_by={})
    path = tmp_path / NEW / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2, "unheard": "of"}))
    with pytest.raises(SnapshotError, match=r"format 2, .* reads up to 1\n  -> install the version") as caught:
        store.load(NEW)
    assert not isinstance(caught.value, DamagedSnapshotError), "an older snapshot must not be taken instead"


def test_a_state_that_fails_midway_leaves_nothing(place):
    class Failing(dict):
        def items(self):
            yield "model", STATE["model"]
            raise KeyboardInterrupt

    store = Snapshots(place)
    store.write(OLD, STATE, made_by={})
    with pytest.raises(KeyboardInterrupt):
        store.write(NEW, Failing(), made_by={})
    assert store.names() == [OLD]
    store.sweep()
    files, root = fsspec.core.url_to_fs(place)
    assert {each.rstrip("/").rpartition("/")[2] for each in files.ls(root, detail=False)} == {OLD}


@given(st.lists(st.integers(0, 30), unique=True, max_size=10).map(sorted), st.data(), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_prune_keeps_the_newest_and_what_may_be_named_yet(numbers, data, keep):
    names = [name(0, each) for each in numbers]
    named = [each for each in names if data.draw(st.booleans())]
    store = Snapshots(f"memory://{token_hex(8)}", keep=keep)
    for each in names:
        store.write(each, {}, made_by={})
    gone = [name(0, 31)] if data.draw(st.booleans()) else []  # one that is named, and was deleted by somebody
    deleted = store.prune(named + gone)
    last = (named + gone)[-1] if named or gone else ""
    assert store.names() == [each for each in names if each in named[-keep:] or each > last]
    assert deleted == [each for each in names if each not in store.names()]
