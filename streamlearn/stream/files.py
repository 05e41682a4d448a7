"""Files of events: JSON lines, or CSV with a header, either of them with gzip, as the records that they stand for."""

import csv
import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import BinaryIO, cast

import orjson

from streamlearn.core.errors import ConfigError


def is_csv(file: str) -> bool:
    """Say whether the file's name is that of a CSV."""
    return file.removesuffix(".gz").endswith(".csv")


@contextmanager
def opened(file: str) -> Iterator[BinaryIO]:
    """Open a file for reading; `-` is the standard input.

    Raises:
        ConfigError: it cannot be read; names the nearest one where there is none.
    """
    if file == "-":
        if sys.stdin.isatty():
            sys.stderr.write("one JSON event a line; Ctrl-D ends\n")
        yield sys.stdin.buffer
        return
    path = Path(file)
    try:
        with cast("BinaryIO", gzip.open(path, "rb")) if file.endswith(".gz") else path.open("rb") as stream:
            yield stream
    except (OSError, EOFError, zlib.error) as error:
        near = nearest(path)
        raise ConfigError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}",
            where=file,
            mend=f"did you mean {near}?" if near else "give the path of a file, or -",
        ) from error


def nearest(path: Path) -> Path | None:
    """Return the file beside a path where there is nothing that has the most similar name; None without one."""
    there = path.parent.iterdir() if path.parent.is_dir() and not path.exists() else ()
    stems = {each.name.partition(".")[0]: each for each in sorted(there)}  # that ".jsonl" is alike says nothing
    near = get_close_matches(path.name.partition(".")[0], stems, 1)
    return stems[near[0]] if near else None


def records(stream: BinaryIO, *, as_csv: bool) -> Iterator[bytes]:
    """Yield the lines of JSON as they are, and the rows of a CSV as JSON objects; what is blank is left out.

    Raises:
        ConfigError: it is no CSV that can be read; says in which line.
    """
    return (value for _, value in numbered(stream, as_csv=as_csv))


def numbered(stream: BinaryIO, *, as_csv: bool) -> Iterator[tuple[int, bytes]]:
    """Yield what `records` yields, each with the number of its line, from 1; of a row that has several, the last.

    Raises:
        ConfigError: it is no CSV that can be read; says in which line.
    """
    if not as_csv:
        yield from ((at, line.rstrip(b"\r\n")) for at, line in enumerate(stream, 1) if line.strip())
        return
    try:
        text = (line.decode("utf-8-sig" if i == 0 else "utf-8") for i, line in enumerate(stream))
        rows = csv.DictReader(text)
        if len(rows.fieldnames or ()) == 1 and any(mark in (rows.fieldnames or ("",))[0] for mark in ";\t"):
            raise ConfigError(
                f"the header is one column: {(rows.fieldnames or ('',))[0]!r}",
                where="CSV line 1",
                mend="separate the columns with commas, or save the file as JSON lines",
            )
        for row in rows:
            if None in row:
                raise ConfigError(
                    f"the row has more columns than the header ({len(rows.fieldnames or ())})",
                    where=f"CSV line {rows.line_num}",
                    mend="put a text that holds commas into double quotes",
                )
            given = {field: value for field, value in row.items() if field and value not in (None, "")}
            yield rows.line_num, orjson.dumps(given)
    except UnicodeDecodeError as error:
        raise ConfigError(f"is not UTF-8: {error}", where="CSV", mend="save the file as UTF-8") from error
    except csv.Error as error:
        raise ConfigError(
            f"is not CSV: {error}", where="CSV", mend="mend the file, or save it as JSON lines"
        ) from error
