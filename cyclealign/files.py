"""The home folder, hashes of files, JSON Lines, and folders that appear whole or not at all."""

import glob
import gzip
import hashlib
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cyclealign.processes import is_running

HOME_VARIABLE = "CYCLEALIGN_HOME"
CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "flows" / "configs"
_UTF8 = "utf-8-sig"  # UTF-8, with or without a byte order mark


def home() -> Path:
    """Return the folder of database, models, adapters and reports: ``CYCLEALIGN_HOME``, else ``.cyclealign`` here."""
    return Path(os.environ.get(HOME_VARIABLE, "").strip() or ".cyclealign").absolute()


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


def numbered_lines(path: Path, error: type[Exception] = ValueError) -> Iterator[tuple[str, str]]:
    """Yield (``path, line number``, line) for each line of a text file that is not blank, counted from 1.

    A file named ``.gz`` is decompressed; a byte order mark is skipped. Lines end at line feeds and carriage returns
    alone: str.splitlines would also break a text at U+2028.

    Args:
        error: the kind of exception to raise.

    Raises:
        error: the file cannot be read as UTF-8 text; the message names it.
    """
    try:
        with gzip.open(path, "rt", encoding=_UTF8) if path.suffix == ".gz" else path.open(encoding=_UTF8) as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\n")
    except (OSError, EOFError, UnicodeDecodeError) as cause:
        raise error(f"{path}: cannot be read as UTF-8 text ({cause}). Correct the path or the file.") from cause


def json_lines(path: Path, error: type[Exception] = ValueError) -> Iterator[tuple[str, Any]]:
    """Yield (``path, line number``, value) for each line of a JSON Lines file that is not blank.

    Args:
        error: the kind of exception to raise.

    Raises:
        error: the file cannot be read, or a line is not JSON; the message names file and line.
    """
    for where, line in numbered_lines(path, error):
        try:
            value = json.loads(line)
        except ValueError as cause:
            raise error(f"{where}: not JSON ({cause}).") from cause
        yield where, value


@contextmanager
def appearing_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder next to ``final`` that is renamed to it when the block ends without an error.

    An existing ``final`` (of a run that was killed before it wrote its row) is replaced. Temporary folders that killed
    processes of this machine left behind are removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{final.name}-{socket.gethostname()}-"
    for leftover in final.parent.glob(f"{glob.escape(prefix)}*"):
        pid = leftover.name.removeprefix(prefix).partition("-")[0]
        if pid.isdigit() and not is_running(int(pid)):
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=final.parent))
    try:
        yield temporary
        shutil.rmtree(final, ignore_errors=True)
        temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
