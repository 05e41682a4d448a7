"""Whatever interrupts or refuses a write, the older snapshots stay whole, and messages hold no secret.

A crash is played by an audit hook: from some point on, every call that would touch the disk raises, clean-up too, as if
the process were gone.
"""

import errno
import os
import resource
import subprocess
import sys
from secrets import token_hex

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from streamlearn.core.errors import ConfigError
from streamlearn.durability.snapshots import DamagedSnapshotError, SnapshotError, Snapshots
from tests.snapshots import LATER, NEW, NEXT, OLD, STATE, WHOLE, same


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Counts the calls that touch the disk under `folder`; from number `at` on each raises `Killed`."""

    folder: str | None = None
    left = 0

    def __call__(self, event, args):
        if self.folder is None or event not in {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}:
            return
        if event == "open" and not str(args[0]).startswith(self.folder):
            return
        self.left -= 1
        if self.left < 0:
            raise Killed

    def kills(self, folder, at, work):
        """Run the work, and say whether it was killed before its end."""
        self.folder, self.left = str(folder), at
        try:
            work()
        except Killed:
            return True
        finally:
            self.folder = None
        return False


@pytest.fixture(scope="session")
def fuse():
    fuse = Fuse()
    sys.addaudithook(fuse)
    return fuse


def test_a_write_killed_anywhere_leaves_all_or_nothing(tmp_path, fuse):
    seen = set()
    for at in range(100):
        folder = tmp_path / str(at)
        Snapshots(str(folder)).write(OLD, STATE, made_by={})
        killed = fuse.kills(folder, at, lambda: Snapshots(str(folder)).write(NEW, LATER, made_by={}))  # noqa: B023 - runs at once
        store = Snapshots(str(folder))
        names = store.names()
        seen.add((killed, len(names), len(list(folder.iterdir()))))
        assert names in ([OLD], [OLD, NEW])
        assert same(store.load(OLD).state, STATE)
        assert NEW not in names or same(store.load(NEW).state, LATER)
        if at % 2:
            store.sweep()
            assert [each.name for each in sorted(folder.iterdir())] == names
        store.write(NEXT, STATE, made_by={})
        assert [each.name for each in sorted(folder.iterdir())] == [*names, NEXT]
        if not killed:
            break
    assert at > 8
    # Killed before it began; with a folder half written; after the rename; not at all.
    assert seen == {(True, 1, 1), (True, 1, 2), (True, 2, 2), (False, 2, 2)}


def test_a_deletion_killed_anywhere_leaves_all_or_nothing(tmp_path, fuse):
    for at in range(100):
        folder = tmp_path / str(at)
        store = Snapshots(str(folder), keep=1)
        for each in (OLD, NEW):
            store.write(each, STATE, made_by={})
        killed = fuse.kills(folder, at, lambda: store.prune([OLD, NEW]))  # noqa: B023 - runs at once
        for each in store.names():
            assert same(store.load(each).state, STATE)
        assert store.names() in ([OLD, NEW], [NEW])
        store.prune([OLD, NEW])
        store.sweep()
        assert [each.name for each in folder.iterdir()] == [NEW]
        if not killed:
            break
    assert at > 8


@pytest.fixture
def small_disk(tmp_path):
    """Yield a folder that takes less than 1 MiB: a file system of its own where this user may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() == 0 and subprocess.run(mount, check=False, capture_output=True).returncode == 0:
        yield folder, "No space left on device", "make room"
        subprocess.run(["umount", str(folder)], check=True)
    else:
        old = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, old[1]))
        yield folder, "File too large", "ulimit"
        resource.setrlimit(resource.RLIMIT_FSIZE, old)


def test_a_full_disk_leaves_the_older_ones(small_disk):
    folder, words, mend = small_disk
    store = Snapshots(str(folder))
    store.write(OLD, STATE, made_by={})
    big = {"first": {"x": torch.ones(1000)}, "model": {"x": torch.zeros(1 << 20)}}
    with pytest.raises(SnapshotError, match=f"{folder}/{NEW}: the snapshot cannot be written: {words}\n  -> .*{mend}"):
        store.write(NEW, big, made_by={})
    assert [each.name for each in folder.iterdir()] == [OLD]
    assert same(store.load(OLD).state, STATE)
    store.write(NEW, LATER, made_by={})
    assert same(store.load(NEW).state, LATER)


class Brittle(MemoryFileSystem):
    """An object store whose next calls may fail."""

    protocol = "brittle"
    cachable = False
    left = 10**9  # calls that go well
    failing = 10**9  # calls that fail after them
    error: BaseException = Killed()

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.rpartition("://")[2].rpartition("@")[2].strip("/")

    def _count(self):
        type(self).left -= 1
        if -self.failing <= self.left < 0:
            raise self.error

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        self._count()
        super().pipe_file(path, value, mode, **kwargs)

    def cat_file(self, path, start=None, end=None, **kwargs):
        self._count()
        return super().cat_file(path, start, end, **kwargs)

    def rm_file(self, path):
        self._count()
        super().rm_file(path)


fsspec.register_implementation("brittle", Brittle, clobber=True)


@pytest.fixture
def brittle():
    yield f"brittle://me:hunter2@{token_hex(8)}/state?token=hunter3"
    Brittle.left = Brittle.failing = 10**9


def test_an_upload_killed_anywhere_leaves_all_or_nothing(brittle):
    for at in range(len(WHOLE) + 1):
        place = f"{brittle}{at}"
        Snapshots(place).write(OLD, STATE, made_by={})
        Brittle.left, Brittle.error = at, Killed()
        store = Snapshots(place)
        if at < len(WHOLE):
            with pytest.raises(Killed):
                store.write(NEW, LATER, made_by={})
        else:
            store.write(NEW, LATER, made_by={})
        Brittle.left = 10**9
        assert store.names() == ([OLD] if at < len(WHOLE) else [OLD, NEW])
        assert store.sweep(OLD) == [], "an unfinished one of a later name is its writer's"
        store.write(NEXT, STATE, made_by={})
        assert store.sweep() == [], "the next write has removed what was left"
        assert same(store.load(OLD).state, STATE)


def test_a_download_or_deletion_that_fails_is_no_damage(brittle):
    store = Snapshots(brittle)
    store.write(NEW, STATE, made_by={})
    Brittle.left, Brittle.error = 2, TimeoutError("too slow")
    with pytest.raises(SnapshotError, match="cannot be read: TimeoutError") as caught:
        store.load(NEW)
    assert not isinstance(caught.value, DamagedSnapshotError)
    Brittle.left = 1
    with pytest.raises(SnapshotError, match="cannot be deleted: TimeoutError"):
        store.delete(NEW)
    Brittle.left = 10**9
    assert (store.names(), store.sweep(), store.sweep()) == ([], [NEW], [])


@pytest.mark.parametrize("failing", [1, 10**9])
@pytest.mark.parametrize(
    ("error", "mend"),
    [
        (RuntimeError("brittle://me:hunter2@x: hunter3"), "check the storage"),
        (PermissionError("hunter2 may not"), "give streamlearn the right"),
        (OSError(errno.ENOSPC, "hunter2"), "make room"),
        (FileNotFoundError("no bucket hunter2"), "check the storage"),
    ],
)
def test_what_a_store_refuses_is_told_without_secrets(brittle, error, mend, failing):
    store = Snapshots(brittle)
    store.write(OLD, STATE, made_by={})
    Brittle.left, Brittle.failing, Brittle.error = 3, failing, error
    with pytest.raises(SnapshotError, match=f"cannot be written: {type(error).__name__}\n  -> {mend}") as caught:
        store.write(NEW, STATE, made_by={})
    Brittle.left = 10**9
    assert str(caught.value).startswith("brittle://********@")
    told: BaseException | None = caught.value
    while told is not None:  # as a traceback would print it
        assert "hunter" not in str(told)
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)
    assert store.sweep() == ([] if failing == 1 else [NEW]), "what was uploaded is removed, where it can be"
    assert store.names() == [OLD]


def test_storage_that_nobody_knows_is_refused():
    with pytest.raises(ConfigError, match=r"no such storage .*\n  -> install") as caught:
        Snapshots("nowhere://me:hunter2@bucket/x?token=hunter3")
    assert "hunter" not in str(caught.value)


def test_a_file_in_its_way_is_told(tmp_path):
    (tmp_path / "file").touch()
    store = Snapshots(str(tmp_path / "file"))
    calls = [store.names, store.sweep, lambda: store.write(NEW, STATE, made_by={})]
    for call in calls:
        with pytest.raises(SnapshotError, match=r"Not a directory\n  -> set snapshots\.path to a folder"):
            call()


def test_what_else_lies_there_is_left_alone(tmp_path):
    for each in ("lock", "notes.tmp", "snapshot-1-2.tmp"):
        (tmp_path / each).write_text("mine")
    store = Snapshots(str(tmp_path), keep=1)
    for each in (OLD, NEW):
        store.write(each, STATE, made_by={})
    store.prune([OLD, NEW])
    assert store.sweep() == []
    assert {each.name for each in tmp_path.iterdir()} == {"lock", "notes.tmp", "snapshot-1-2.tmp", NEW}


def test_no_two_snapshots_share_a_file(tmp_path):
    store = Snapshots(str(tmp_path))
    for each in (OLD, NEW):
        store.write(each, STATE, made_by={})
    assert not any((tmp_path / NEW / file).samefile(tmp_path / OLD / file) for file in WHOLE)


def test_damage_is_not_handed_on(tmp_path):
    store = Snapshots(str(tmp_path))
    store.write(OLD, STATE, made_by={})
    path = tmp_path / OLD / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    store.write(NEW, STATE, made_by={})
    assert same(store.load(NEW).state, STATE)
