"""Files and folders that appear whole or not at all, and their hashes."""

import glob
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

HOME_VARIABLE = "CYCLEALIGN_HOME"
CHECKOUT = Path(__file__).resolve().parents[1]
EXAMPLES = CHECKOUT / "flows" / "configs"


def home() -> Path:
    """The folder of everything that is not in the repository: database, models, adapters, reports."""
    return Path(os.environ.get(HOME_VARIABLE, ".cyclealign")).absolute()


def hash_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of_folder(folder: Path) -> str:
    """SHA-256 over the names and bytes of all files in a folder, as 64 hexadecimal digits."""
    return hash_of_files(folder, (each for each in folder.rglob("*") if each.is_file()))


def hash_of_files(folder: Path, chosen: Iterable[Path]) -> str:
    """SHA-256 over the names, as seen from ``folder``, and bytes of some files, as 64 hexadecimal digits."""
    files = sorted((each.relative_to(folder).as_posix(), each) for each in chosen)
    listing = "\n".join(f"{hash_of_file(path)} {name}" for name, path in files)
    return hashlib.sha256(listing.encode()).hexdigest()


@contextmanager
def appearing_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``final`` that takes its name when the block ends without an error.

    A folder of that name that is already there (left by a run that was killed before its row was written) is replaced;
    temporary ones that killed processes of this machine left are removed.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    mine = f".{final.name}-{socket.gethostname()}-"
    for left in final.parent.glob(f"{glob.escape(mine)}*"):
        maker = left.name.removeprefix(mine).partition("-")[0]
        if maker.isdigit() and not psutil.pid_exists(int(maker)):
            shutil.rmtree(left, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=f"{mine}{os.getpid()}-", dir=final.parent))
    try:
        yield made
        shutil.rmtree(final, ignore_errors=True)
        made.rename(final)
    finally:
        shutil.rmtree(made, ignore_errors=True)
