"""The home folder, hashes of files, JSON Lines, and folders that appear whole or not at all."""

import glob
import gzip
import hashlib
import itertools
import json
import os
import re
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from cyclealign.processes import is_running, machine_name
from cyclealign.text import unstorable_part

HOME_VARIABLE = "CYCLEALIGN_HOME"
ADAPTERS_VARIABLE = "CYCLEALIGN_ADAPTERS"
CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "flows" / "configs"
# The name of a `temporary_folder` of this host; one that names no more than the host is of an earlier version.
_TEMPORARY = re.compile(rf"\..*-({re.escape(socket.gethostname())}(?:~[0-9a-f]+)?)-(\d+)-[^-]*")
_ABANDONED_SECONDS = 86400.0
_GZIP_MAGIC = b"\x1f\x8b"
# UTF-32 first: its little-endian mark begins with that of UTF-16.
_BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "utf-32",
    b"\x00\x00\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}


def home() -> Path:
    """Return the folder of database, models, adapters and reports: ``CYCLEALIGN_HOME``, else ``.cyclealign`` here."""
    return Path(os.environ.get(HOME_VARIABLE, "").strip() or ".cyclealign").absolute()


def adapters_folder() -> Path:
    """Return the folder of trained weights: ``CYCLEALIGN_ADAPTERS``, which machines may share, else in the home."""
    given = os.environ.get(ADAPTERS_VARIABLE, "").strip()
    return Path(given).absolute() if given else home() / "adapters"


def locate_weights(path: str, content_hash: str) -> str:
    """Return the folder of weights on this machine: where its row says, else by name and hash in `adapters_folder`.

    Another machine may have written the row. Weights are compared with their hash before they are used.
    """
    stored, folder = Path(path), adapters_folder()
    if stored.exists():
        return path
    named = folder / stored.parent.name / stored.name
    hashed = (found for found in sorted(folder.glob(f"*/round-*-{content_hash[:12]}*")) if found.is_dir())
    return str(named if named.exists() else next(hashed, stored))


def checkpoints_folder(experiment: str) -> Path:
    """Return the folder with the checkpoints of an experiment's training; it exists while a training is unfinished."""
    return home() / "checkpoints" / experiment


def report_file(name: str) -> Path:
    """Return the path of a report of that file name; its folder, ``reports`` of the home, is made."""
    folder = home() / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def hash_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_folder(folder: Path) -> str:
    """Return the SHA-256 over the names and bytes of all files in a folder, as 64 hexadecimal digits."""
    return hash_of_files(folder, (path for path in folder.rglob("*") if path.is_file()))


def hash_of_files(folder: Path, paths: Iterable[Path]) -> str:
    """Return the SHA-256 over the names, relative to ``folder``, and bytes of files, as 64 hexadecimal digits."""
    files = sorted((path.relative_to(folder).as_posix(), path) for path in paths)
    listing = "\n".join(f"{hash_of_file(path)} {name}" for name, path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


@contextmanager
def open_text(
    path: Path, error: type[Exception] = ValueError, *, keep_undecodable: bool = False, newline: str | None = None
) -> Iterator[TextIO]:
    """Open a text file: UTF-8, or UTF-16 or UTF-32 with a byte order mark; gzip-compressed or not.

    Args:
        error: the kind of exception to raise.
        keep_undecodable: read bytes that are not text as lone surrogates, so that the reader can name their line.
        newline: as for `open`; "" leaves carriage returns in place.

    Raises:
        error: the file cannot be opened, decompressed or decoded, in the block too; the message names it and the fix.
    """
    try:
        packed = _is_gzip(path, error)
        with gzip.open(path) if packed else path.open("rb") as file:
            encoding = _encoding(file.read(4))
        errors = "strict"
        if keep_undecodable:
            errors = "surrogateescape" if encoding == "utf-8-sig" else "surrogatepass"
        opened = gzip.open if packed else open
        with opened(path, "rt", encoding=encoding, errors=errors, newline=newline) as text:
            yield text
    except (OSError, EOFError, UnicodeError) as cause:
        raise error(
            f"{path}: cannot be read as text ({cause}). Correct the path, or convert the file to UTF-8."
        ) from cause


def _is_gzip(path: Path, error: type[Exception]) -> bool:
    with path.open("rb") as file:
        head = file.read(2)
    if path.suffix == ".gz" and head not in (b"", _GZIP_MAGIC):
        raise error(f"{path}: named .gz, but not compressed. Rename it to {path.stem}, or compress it with gzip.")
    return head == _GZIP_MAGIC


def _encoding(head: bytes) -> str:
    """Return the encoding by the byte order mark; without one, UTF-8."""
    marked = (encoding for mark, encoding in _BYTE_ORDER_MARKS.items() if head.startswith(mark))
    return next(marked, "utf-8-sig")


def numbered_lines(path: Path, error: type[Exception] = ValueError) -> Iterator[tuple[str, str]]:
    """Yield (``path, line number``, line) for each line of a text file that is not blank, counted from 1.

    Encodings and compression as in `open_text`. Lines end at line feeds and carriage returns alone: str.splitlines
    would also break a text at U+2028.

    Args:
        error: the kind of exception to raise.

    Raises:
        error: the file cannot be read as text; the message names it.
    """
    with open_text(path, error) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield f"{path}, line {number}", line.rstrip("\n")


class JsonReader:
    """Read JSON values, and note a key that an object has twice, of which the built-in decoder keeps the last."""

    def __init__(self) -> None:
        self.repeated_key: str | None = None
        self._decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def read(self, text: str, start: int = 0) -> tuple[Any, int]:
        """Return the value at ``start`` and the position after it; ``repeated_key`` is then that of this value.

        Raises:
            ValueError: there is no JSON value.
        """
        self.repeated_key = None
        try:
            return self._decoder.raw_decode(text, start)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            names = [name for name, _ in pairs]
            self.repeated_key = next(name for name in values if names.count(name) > 1)
        return values


def json_lines(path: Path, error: type[Exception] = ValueError) -> Iterator[tuple[str, Any]]:
    """Yield (``path, line number``, value) for each line of a JSON Lines file that is not blank.

    Args:
        error: the kind of exception to raise.

    Raises:
        error: the file cannot be read, or a line is not JSON, has a key twice, or a character that databases reject;
            the message names file and line.
    """
    reader = JsonReader()
    for where, line in numbered_lines(path, error):
        text = line.strip(" \t\r")
        try:
            value, end = reader.read(text)
            if end < len(text):
                raise ValueError("text after the value")
        except ValueError as cause:
            raise error(f"{where}: not JSON ({cause}).") from cause
        if reader.repeated_key is not None:
            raise error(f"{where}: the key '{reader.repeated_key}' is given twice. Remove one of them.")
        # Only an escape code can write one of these characters in UTF-8 JSON.
        problems = map(unstorable_part, _texts(value)) if "\\u" in text else iter(())
        if problem := next(filter(None, problems), ""):
            raise error(f"{where}: the line holds {problem}")
        yield where, value


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts of a JSON value, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


@contextmanager
def appearing_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``final`` that is renamed to it when the block ends without an error.

    An existing ``final`` (of a run that was killed before it wrote its row) is replaced.
    """
    with temporary_folder(final) as temporary:
        yield temporary
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)


@contextmanager
def temporary_folder(beside: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``beside``, which need not exist; it is removed at the end of the block.

    Temporary folders of ``beside`` that killed processes of this machine left behind are removed.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{beside.name}-{machine_name()}-"
    for leftover in beside.parent.glob(f"{glob.escape(prefix)}*"):
        pid = leftover.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=beside.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def left_by_killed(path: Path) -> bool:
    """Return whether a `temporary_folder` of this host has no process any more that may still write it.

    Processes before a restart of this host, or in other containers of its name, cannot be asked: a day then decides.
    """
    match = _TEMPORARY.fullmatch(path.name)
    if match is None:
        return False
    if match[1] in (machine_name(), socket.gethostname()):
        return not is_running(int(match[2]))
    return time.time() - path.stat().st_mtime > _ABANDONED_SECONDS


def flush_folder(folder: Path) -> None:
    """Write the files of a folder, and the names in it, to the disk: they survive a power cut from then on."""
    for path in sorted(folder.rglob("*")):
        flush(path)
    flush(folder)


def flush(path: Path) -> None:
    """Write a file's bytes, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def keep_folder(temporary: Path, final: Path, is_same: Callable[[Path], bool]) -> Path:
    """Rename a folder to ``final`` and return its path; an existing folder is never replaced.

    Args:
        temporary: a folder with files, on the same file system.
        is_same: whether an existing folder holds the same content and can be returned instead; otherwise the name gets
            a number.
    """
    flush_folder(temporary)
    for number in itertools.count(1):
        path = final if number == 1 else final.with_name(f"{final.name}-{number}")
        try:
            temporary.rename(path)  # fails if the path is a folder with files
        except OSError:
            if not path.exists():
                raise
        else:
            flush(path.parent)
            return path
        if is_same(path):
            return path
    raise AssertionError("unreachable")
