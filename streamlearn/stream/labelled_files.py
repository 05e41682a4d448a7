"""The labelled file, or folder of files, that a learner may begin with: its rows in one order, and its digest.

JSON lines and CSV, also with gzip, are read as they come. Arrow and Parquet, and so a folder that `save_to_disk` of
Hugging Face datasets wrote, need pyarrow, which is the extra `arrow`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streamlearn.core.errors import ConfigError
from streamlearn.stream.files import is_csv, nearest, numbered, opened

COLUMNS = (".arrow", ".parquet")
LINES = (".jsonl", ".csv", ".jsonl.gz", ".csv.gz")
CHUNK = 1 << 20


class Row(NamedTuple):
    """One row, as the JSON of an event, and where it stands in words."""

    where: str
    value: bytes


class WarmFile:
    """A labelled file; of a folder, its files in the order of their names, as if they were one.

    Args:
        path: of the file or the folder.

    Raises:
        ConfigError: there is nothing there that can be read; names the nearest file where there is none.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.files = _files(Path(path))
        if any(file.suffix in COLUMNS for file in self.files):
            _pyarrow(path)

    def sha256(self, advance: Callable[[], None] = lambda: None) -> str:
        """Return the digest of the file's bytes; of a folder, of the names, sizes and bytes of its files.

        `advance` is called after each MiB, since a large file takes minutes.
        """
        found = hashlib.sha256()
        whole = Path(self.path).is_dir()
        for file in self.files:
            if whole:
                found.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            try:
                with file.open("rb") as stream:
                    while data := stream.read(CHUNK):
                        found.update(data)
                        advance()
            except OSError as error:
                raise self._unreadable(file, error) from error
        return found.hexdigest()

    def rows(self) -> Iterator[Row]:
        """Yield every row, in order.

        Raises:
            ConfigError: a file is not what its name says; says where.
        """
        for file in self.files:
            stem = f"{file.name} " if len(self.files) > 1 else ""
            if file.suffix in COLUMNS:
                try:
                    yield from (Row(f"{stem}row {at}", value) for at, value in enumerate(_columns(file, self.path), 1))
                except (OSError, ValueError) as error:  # of pyarrow's own errors those are the parents
                    raise self._unreadable(file, error) from error
                continue
            try:
                with opened(str(file)) as stream:
                    for at, value in numbered(stream, as_csv=is_csv(str(file))):
                        yield Row(f"{stem}line {at}", value)
            except ConfigError as error:
                where = f"{file}: {error.where}" if str(error.where).startswith("CSV") else error.where
                raise ConfigError(error.what, where=f"warm_start: {where}", mend=error.mend) from error

    def _unreadable(self, file: Path, error: Exception) -> ConfigError:
        return ConfigError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            where=f"warm_start: {file}",
            mend="check its rights, and that it is what its name says",
        )


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        near = nearest(path)
        raise ConfigError(
            "there is no such file or folder",
            where=f"warm_start: {path}",
            mend=(f"did you mean {near}? " if near else "")
            + "A learner that holds a snapshot of its warm start needs the file no more: leave the setting out",
        )
    if (path / "dataset_dict.json").is_file():
        splits = sorted(each.name for each in path.iterdir() if each.is_dir())
        raise ConfigError(
            f"holds several splits: {', '.join(splits)}",
            where=f"warm_start: {path}",
            mend=f"name one of them, such as {path / (splits[0] if splits else 'train')}",
        )
    named = _named(path)
    found = named or sorted(each for each in path.iterdir() if each.name.endswith((*LINES, *COLUMNS)))
    if not found:
        raise ConfigError(
            "the folder holds no file of rows",
            where=f"warm_start: {path}",
            mend=f"put files there that end with one of {', '.join((*LINES, *COLUMNS))}, or name a file",
        )
    return found


def _named(folder: Path) -> list[Path]:
    """Return the files that `save_to_disk` says belong to the data set: others beside them are caches."""
    try:
        told = json.loads((folder / "state.json").read_bytes())["_data_files"]
        return [folder / str(each["filename"]) for each in told]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _columns(file: Path, path: str) -> Iterator[bytes]:
    """Yield the rows of a file of columns as JSON; a class label of Hugging Face datasets by its name."""
    arrow = _pyarrow(path)
    if file.suffix == ".parquet":
        parquet = import_module("pyarrow.parquet").ParquetFile(file)
        schema, batches = parquet.schema_arrow, parquet.iter_batches()
    else:
        with file.open("rb") as stream:
            is_file = stream.read(6) == b"ARROW1"
        source = arrow.memory_map(str(file))
        ipc = import_module("pyarrow.ipc")
        reader = ipc.open_file(source) if is_file else ipc.open_stream(source)
        schema = reader.schema
        batches = map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader
    names = _class_names(schema.metadata or {})
    for batch in batches:
        for row in batch.to_pylist():
            for column, labels in names.items():
                number = row.get(column)
                if isinstance(number, int):
                    row[column] = labels[number] if 0 <= number < len(labels) else None  # -1: it has none
            yield orjson.dumps(row, default=_plain)


def _class_names(metadata: Mapping[bytes, bytes]) -> dict[str, Sequence[str]]:
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
        return {name: each["names"] for name, each in features.items() if each.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _plain(value: object) -> str | None:
    return None if isinstance(value, bytes) else str(value)  # pictures and the like say nothing to a model of texts


def _pyarrow(path: str) -> Any:  # noqa: ANN401 - a module without types
    try:
        return import_module("pyarrow")
    except ImportError:
        raise ConfigError(
            "Arrow and Parquet need pyarrow, which is not installed",
            where=f"warm_start: {path}",
            mend="`pip install 'streamlearn[arrow]'`, or save the rows as JSON lines or CSV",
        ) from None
