"""Where snapshots are stored: a local folder, or whatever fsspec has a URL for.

A store keeps folders of files. It gives a folder a last file, the manifest: with it the folder is complete. What is in
the files is not its concern. Its methods raise `OSError`, whose `strerror` is fit for users: no secret of a URL in it.
"""

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

import fsspec  # type: ignore[import-untyped] # it has no types
from fsspec.implementations.local import LocalFileSystem  # type: ignore[import-untyped] # as above

from streamlearn.core.errors import ConfigError
from streamlearn.core.secrets import hidden

NAME: Final = re.compile(r"snapshot-[0-9]{8}-[0-9]{12}")
MANIFEST: Final = "manifest.json"


class Store(Protocol):
    """Folders of files."""

    def folders(self) -> dict[str, set[str]]:
        """Return the files of each folder, by name."""

    def write(self, name: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store a folder, durable when this returns; the manifest is the last of its files.

        Args:
            name: of the folder; there is none of this name.
            files: name and content, taken one at a time.
        """

    def read(self, name: str, file: str) -> bytes:
        """Return the content of a file."""

    def delete(self, name: str) -> None:
        """Delete the folder if it is there. Interrupted, it is no longer complete."""

    def leftovers(self) -> list[str]:
        """Return the names whose writing or deletion was interrupted."""

    def clear(self, name: str) -> None:
        """Remove what is left under this name."""


def open_store(path: str) -> Store:
    """Return the store at a local path or a URL; nothing is read or written yet.

    Raises:
        ConfigError: nothing is installed that knows such a URL.
    """
    if "://" not in path:
        return Folder(Path(path).expanduser())
    try:
        system, root = fsspec.core.url_to_fs(path)
    except Exception as error:  # noqa: BLE001 - each file system refuses a URL in its own way
        words = f"no such storage can be used: {_text(error, path)}"
        mend = "install what fsspec needs for it (s3fs for s3://, gcsfs for gs://), or name a local folder"
        # Without the cause, whose text may hold the URL; so below.
        raise ConfigError(words, where=f"snapshots.path {hidden(path)}", mend=mend) from None
    return Folder(Path(root)) if isinstance(system, LocalFileSystem) else Bucket(system, root, path)


class Folder:
    """A folder of a local disk.

    A folder is written as `NAME.tmp` and renamed when all of it is on the disk, so it is there whole or not at all. No
    two folders share a file, though some stay the same: what damages one of them must leave the others whole.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def folders(self) -> dict[str, set[str]]:
        """Return the files of each folder, by name."""
        names = [each for each in self._entries() if NAME.fullmatch(each)]
        return {name: {file.name for file in (self.root / name).iterdir()} for name in names}

    def write(self, name: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store a folder.

        1. Write the files into `NAME.tmp`, each down to the disk.
        2. Bring the list of them to the disk.
        3. Rename, and bring the new name to the disk.
        """
        _make(self.root)
        part = self._part(name)
        part.mkdir()
        try:
            for file, data in files:  # 1
                with (part / file).open("xb") as out:
                    out.write(data)
                    out.flush()
                    os.fsync(out.fileno())
            _sync(part)  # 2
            part.rename(self.root / name)  # 3
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)  # a full disk gets its room back
            raise
        _sync(self.root)

    def read(self, name: str, file: str) -> bytes:
        """Return the content of a file."""
        return (self.root / name / file).read_bytes()

    def delete(self, name: str) -> None:
        """Rename the folder, so that it is gone at once, then delete it."""
        self.clear(name)
        with contextlib.suppress(FileNotFoundError):
            (self.root / name).rename(self._part(name))
            _sync(self.root)
            self.clear(name)

    def leftovers(self) -> list[str]:
        """Return the names whose writing or deletion was interrupted."""
        names = [each.removesuffix(".tmp") for each in self._entries() if each.endswith(".tmp")]
        return [each for each in names if NAME.fullmatch(each)]

    def clear(self, name: str) -> None:
        """Remove what is left under this name."""
        if self._part(name).exists():
            shutil.rmtree(self._part(name))

    def _entries(self) -> list[str]:
        try:
            return [each.name for each in self.root.iterdir()]
        except FileNotFoundError:
            return []

    def _part(self, name: str) -> Path:
        return self.root / f"{name}.tmp"


class Bucket:
    """An object store, or another place that fsspec reaches. The manifest is written last and deleted first."""

    def __init__(self, system: Any, root: str, url: str) -> None:  # noqa: ANN401 - fsspec has no types
        self._system, self._root, self._url = system, root.rstrip("/"), url

    def folders(self) -> dict[str, set[str]]:
        """Return the files of each folder, by name."""
        self._system.invalidate_cache()  # others write here too
        found: dict[str, set[str]] = {}
        try:
            paths = self._do("find", self._root)
        except FileNotFoundError:
            return found
        for path in paths:
            name, slash, file = path.strip("/").removeprefix(self._root.strip("/")).strip("/").partition("/")
            if slash and NAME.fullmatch(name):
                found.setdefault(name, set()).add(file)
        return found

    def write(self, name: str, files: Iterable[tuple[str, bytes]]) -> None:
        """Store a folder; what was stored of it when it fails is removed."""
        try:
            for file, data in files:
                self._do("pipe_file", f"{self._root}/{name}/{file}", data)
        except Exception:
            with contextlib.suppress(OSError):
                self.clear(name)
            raise

    def read(self, name: str, file: str) -> bytes:
        """Return the content of a file."""
        return bytes(self._do("cat_file", f"{self._root}/{name}/{file}"))

    def delete(self, name: str) -> None:
        """Delete the manifest, then the rest."""
        for file in sorted(self.folders().get(name, ()), key=MANIFEST.__ne__):
            with contextlib.suppress(FileNotFoundError):
                self._do("rm_file", f"{self._root}/{name}/{file}")

    def leftovers(self) -> list[str]:
        """Return the names whose writing or deletion was interrupted."""
        return [name for name, files in self.folders().items() if MANIFEST not in files]

    def clear(self, name: str) -> None:
        """Remove what is left under this name."""
        self.delete(name)

    def _do(self, call: str, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - fsspec has no types
        try:
            return getattr(self._system, call)(*args, **options)
        except Exception as error:  # noqa: BLE001 - each file system has errors of its own
            number = error.errno if isinstance(error, OSError) else None
            if isinstance(error, FileNotFoundError | PermissionError):  # often raised without a number
                number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.EACCES
            raise OSError(number, _text(error, self._url)) from None


def _text(error: Exception, path: str) -> str:
    """Return what a library says; where the path holds secrets, only what kind of error it is."""
    return f"{type(error).__name__}: {error}" if hidden(path) == path else type(error).__name__


def _make(folder: Path) -> None:
    """Make the folder and those above it, down to the disk."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync(folder.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
