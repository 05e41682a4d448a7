"""Snapshots: named, checked and whole copies of the state, on a local folder or an object store.

A snapshot is a folder `snapshot-INCARNATION-SEQ/`. Each part of the state (model, optimizer, memory, ...) is two files:
`PART.safetensors` holds its tensors, and `PART.json` its structure with references to them. `manifest.json` holds size
and SHA-256 of every file. A folder without a manifest is no snapshot.

What is here knows nothing of the journal: which snapshots count is told by the caller.
"""

import errno
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from streamlearn.core.errors import StreamlearnError
from streamlearn.core.secrets import hidden
from streamlearn.durability import stored_state
from streamlearn.durability.storage import MANIFEST, NAME, open_store

FORMAT: Final = 1


class SnapshotError(StreamlearnError):
    """A snapshot cannot be written, read or deleted."""


class DamagedSnapshotError(SnapshotError):
    """A snapshot is not what was written: a file is missing, cut or changed."""


class FileEntry(BaseModel):
    """What the manifest tells of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    size: int = Field(ge=0, description="In bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class Manifest(BaseModel):
    """What stands in `manifest.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal[1] = Field(FORMAT, description="An older streamlearn refuses a newer format.")
    name: str = Field(description="The snapshot's own name: a folder that was renamed is found out.")
    created: float | None = Field(None, description="Seconds since 1970, by the clock of whoever wrote it.")
    made_by: dict[str, JsonValue] = Field(description="Versions and configuration, for people.")
    files: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*\.(json|safetensors)$")], FileEntry]


@dataclass(frozen=True)
class Loaded:
    """A snapshot in memory; its tensors are on the CPU and nobody else's, or, where they are only looked at, stored
    ones."""

    state: dict[str, dict[str, Any]]
    manifest: Manifest


def name(incarnation: int, seq: int) -> str:
    """Return the name of the snapshot that this incarnation takes at this journal record; names sort by both."""
    assert 0 <= incarnation < 10**8
    assert 0 <= seq < 10**12
    return f"snapshot-{incarnation:08}-{seq:012}"


_TRIAL: Final = name(10**8 - 1, 10**12 - 1)  # after all others, so that no learner's `sweep` takes it meanwhile


class Snapshots:
    """A store of snapshots. Whatever kills a `write`, the snapshot is there whole or not at all, and the others stay.

    Every method raises `SnapshotError` where the storage refuses, and for a name that is none. Secrets in a URL stand
    in no message.

    Args:
        path: a local folder, which need not exist yet, or a URL that fsspec knows: s3://, gs://, file://, memory://.
        keep: snapshots that `prune` leaves.

    Raises:
        ConfigError: nothing is installed that knows such a URL.
    """

    def __init__(self, path: str, *, keep: int = 3) -> None:
        assert keep >= 1
        self.keep = keep
        self._where = hidden(path)
        self._store = open_store(path)

    def write(
        self,
        name: str,
        state: Mapping[str, Mapping[str, Any]],
        *,
        made_by: Mapping[str, JsonValue],
        now: float | None = None,
    ) -> str:
        """Write a snapshot, durable when this returns; return the SHA-256 of its manifest.

        1. Remove what an interrupted write of this or an earlier name left.
        2. Write part by part; one part at a time is held in memory as bytes.
        3. Write the manifest, and let the snapshot appear.

        Args:
            name: a new one, from `name`.
            state: part -> nested dicts (keys str or int), lists, tuples, JSON values (nan and inf too) and dense
                tensors. A part's name is lower-case letters, digits and underscores.
            made_by: what to tell people of the writer.
            now: seconds since 1970.
        """
        from streamlearn.durability import state_codec  # with torch, which `look` does without

        if self.exists(name):
            mend = "take each snapshot under a name of its own; delete this one first if it was never named"
            raise SnapshotError("the snapshot exists already", where=self._place(name), mend=mend)
        self.sweep(name)
        manifest = b""

        def files() -> Iterator[tuple[str, bytes]]:
            nonlocal manifest
            entries: dict[str, FileEntry] = {}
            for part, content in state.items():
                assert re.fullmatch(r"[a-z][a-z0-9_]*", part), part
                assert f"{part}.json" != MANIFEST
                structure, tensors = state_codec.encode(part, content)
                for file, data in ((f"{part}.json", structure), (f"{part}.safetensors", tensors)):
                    entries[file] = FileEntry(size=len(data), sha256=sha256(data).hexdigest())
                    yield file, data
            told = Manifest(name=name, created=now, made_by=dict(made_by), files=entries)
            manifest = told.model_dump_json(indent=1).encode()
            yield MANIFEST, manifest

        with self._told(name, "the snapshot cannot be written"):
            self._store.write(name, files())
        return sha256(manifest).hexdigest()

    def load(self, name: str, manifest_sha256: str | None = None) -> Loaded:
        """Read a snapshot; nothing of it is used before every file has proved to be what was written.

        Raises:
            DamagedSnapshotError: it is not there, or not whole.
            SnapshotError: it is of a newer format.
        """
        from streamlearn.durability import state_codec  # with torch, which `look` does without

        return self._load(name, manifest_sha256, state_codec.decode)

    def look(self, name: str) -> Loaded:
        """Read a snapshot as `load` does, without torch: each tensor is a `StoredTensor`."""
        return self._load(name, None, stored_state.decode)

    def _load(self, name: str, manifest_sha256: str | None, decode: Callable[[bytes, bytes], Any]) -> Loaded:
        data = self._read(name, MANIFEST)
        if manifest_sha256 not in (None, sha256(data).hexdigest()):
            self._damaged(name, MANIFEST, "is not the one that was asked for, by its SHA-256")
        manifest = self._manifest(name, data)
        files: dict[str, bytes] = {}
        for file, entry in manifest.files.items():
            files[file] = self._read(name, file)
            if len(files[file]) != entry.size:
                self._damaged(name, file, f"has {len(files[file])} bytes instead of {entry.size}")
            if sha256(files[file]).hexdigest() != entry.sha256:
                self._damaged(name, file, "has changed, by its SHA-256")
        state: dict[str, dict[str, Any]] = {}
        for file in [each for each in files if each.endswith(".json")]:
            part = file.removesuffix(".json")
            try:
                # Taken out of `files`, so that bytes and tensors are in memory together for one part only.
                state[part] = decode(files.pop(file), files.pop(f"{part}.safetensors"))
            except stored_state.ERRORS as error:
                self._damaged(name, file, f"holds no state: {type(error).__name__} {error}")
        return Loaded(state, manifest)

    def names(self) -> list[str]:
        """Return the names of the complete snapshots, oldest first."""
        with self._told("", "the snapshots cannot be listed"):
            return sorted(name for name, files in self._store.folders().items() if MANIFEST in files)

    def exists(self, name: str) -> bool:
        """Say whether there is a complete snapshot of this name; its files are not read."""
        self._check(name)
        return name in self.names()

    def delete(self, name: str) -> None:
        """Delete the snapshot if there is one; interrupted, it is gone all the same, and `sweep` removes the rest."""
        self._check(name)
        with self._told(name, "the snapshot cannot be deleted"):
            self._store.delete(name)

    def try_out(self) -> None:
        """List what is here; write, read and delete a small file, which nobody takes for a snapshot."""
        self.names()
        with self._told("", "a file cannot be written"):
            self._store.delete(_TRIAL)  # what an earlier trial may have left
            self._store.write(_TRIAL, [("trial", b"streamlearn doctor")])
        with self._told("", "a file cannot be read"):
            self._store.read(_TRIAL, "trial")
        with self._told("", "a file cannot be deleted"):
            self._store.delete(_TRIAL)

    def prune(self, named: Sequence[str], *, keep: int | None = None) -> list[str]:
        """Delete what is no longer needed, and return its names.

        The newest `keep` of the named snapshots that are here stay, and so does whatever sorts after the last named
        one: it may be about to be named. All others go, and those that never were named.

        Args:
            named: the snapshots that count, oldest first.
            keep: in the place of `self.keep`.
        """
        assert list(named) == sorted(set(named)), "the names of committed snapshots rise"
        here = self.names()
        kept = [each for each in named if each in here][-(keep or self.keep) :]
        gone = [each for each in here if named and each <= named[-1] and each not in kept]
        for each in gone:
            self.delete(each)
        return gone

    def sweep(self, upto: str | None = None) -> list[str]:
        """Remove what interrupted writes and deletions left, and return whose it was.

        Args:
            upto: leave alone what belongs to later names. Where two processes may write to one place, the one that was
                replaced, whose names are the smaller ones, must not take the unfinished snapshot of its successor.
        """
        if upto is not None:
            self._check(upto)
        with self._told("", "what an interrupted write left cannot be removed"):
            left = sorted(each for each in self._store.leftovers() if upto is None or each <= upto)
            for each in left:
                self._store.clear(each)
        return left

    def _read(self, name: str, file: str) -> bytes:
        self._check(name)
        with self._told(f"{name}/{file}", "it cannot be read"):
            try:
                return self._store.read(name, file)
            except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
                self._damaged(name, file, "is missing")
            except OSError as error:
                if error.errno == errno.EIO:
                    self._damaged(name, file, "cannot be read: the disk fails")
                raise

    def _manifest(self, name: str, data: bytes) -> Manifest:
        """Return the manifest, if it is one of this snapshot and of a format that is known."""
        try:
            told = json.loads(data)
            written = told.get("format") if isinstance(told, dict) else None
            if isinstance(written, int) and written > FORMAT:
                words = f"the snapshot has format {written}, and this streamlearn reads up to {FORMAT}"
                mend = "install the version of streamlearn that wrote it, or a later one"
                raise SnapshotError(words, where=self._place(name), mend=mend)
            manifest = Manifest.model_validate_json(data)
        except ValueError:
            self._damaged(name, MANIFEST, "is no manifest")
        if manifest.name != name:
            self._damaged(name, MANIFEST, f"belongs to {manifest.name}")
        return manifest

    def _check(self, name: str) -> None:
        if not NAME.fullmatch(name):
            mend = "a snapshot is called like snapshot-00000003-000000001234"
            raise SnapshotError(f"{name!r} is no name of a snapshot", where=self._place(""), mend=mend)

    def _place(self, inside: str) -> str:
        return f"{self._where.rstrip('/')}/{inside}" if inside else f"snapshots.path {self._where}"

    def _damaged(self, name: str, file: str, words: str) -> NoReturn:
        mend = "use an older snapshot, or put this one back from a copy"
        raise DamagedSnapshotError(f"{file} {words}", where=self._place(name), mend=mend)

    @contextmanager
    def _told(self, inside: str, what: str) -> Iterator[None]:
        """Tell the user of what the storage refuses."""
        try:
            yield
        except OSError as error:
            told = error.strerror or str(error) or type(error).__name__
            mend = MENDS.get(error.errno or 0, "check the storage that snapshots.path names, then try again")
            raise SnapshotError(f"{what}: {told}", where=self._place(inside), mend=mend) from error


_RIGHTS = "give streamlearn the right to read and write there, or set snapshots.path to another folder"
_ROOM = "make room on the disk, or lower snapshots.keep; older snapshots are whole"
_NO_FOLDER = "set snapshots.path to a folder: a file is in its way"
MENDS: Final = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _ROOM),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _RIGHTS),
    **dict.fromkeys((errno.ENOTDIR, errno.EEXIST), _NO_FOLDER),
    errno.EFBIG: "raise the limit on the size of files (ulimit -f); older snapshots are whole",
}
