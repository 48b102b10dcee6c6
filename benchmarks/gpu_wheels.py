"""Collect the packages that `benchmarks.gpu_check` needs beside PyTorch, as wheels for a machine without a registry.

``python -m benchmarks.gpu_wheels [FOLDER] [--python 3.12]`` downloads them into FOLDER (.wheels, which git ignores), in
the versions of this environment, for x86-64 Linux, and fails if they take more than 60 MiB. benchmarks/gpu.md says how
they are installed there. The machine is expected to have torch, numpy, accelerate, sentence-transformers, scipy,
aiohttp, pyarrow and what they depend on.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

PACKAGES = (
    *("trl", "transformers", "peft", "tokenizers", "huggingface_hub", "datasets", "dill", "multiprocess"),
    *("pydantic", "pydantic_core", "annotated-types", "typing-inspection", "SQLAlchemy", "greenlet", "alembic", "Mako"),
    *("openai", "jiter", "sniffio", "httpx2", "httpcore2", "h2", "hpack", "hyperframe", "truststore"),
    *("json5", "orjson", "bm25s", "faiss-cpu", "ir_measures", "pytrec-eval-terrier"),
)
# pip takes a wheel for exactly the platforms that are named.
PLATFORMS = ("manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in (5, 12, 17, 24, 27, 28, 31, 34)))
MAX_MIB, MIB = 60, 1 << 20


def download(folder: Path, python: str, packages: Sequence[str] = PACKAGES) -> list[str]:
    """Download the wheels; return the packages that have none for that machine."""
    options = ["--no-deps", "--quiet", "--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    options += [option for platform in PLATFORMS for option in ("--platform", platform)]
    missing = []
    for package in packages:
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder)]
        done = subprocess.run([*command, f"{package}=={metadata.version(package)}"], stdout=sys.stderr, check=False)
        if done.returncode:
            missing.append(package)
    return missing


def main() -> None:
    """Collect the wheels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(".wheels"))
    parser.add_argument("--python", default="3.12", help="Of the machine.")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    for wheel in given.folder.glob("*.whl"):  # two versions of one package would stop the installation
        wheel.unlink()
    missing = download(given.folder, given.python)
    size = sum(wheel.stat().st_size for wheel in given.folder.glob("*.whl")) / MIB
    print(f"{len(PACKAGES) - len(missing)} wheels, {size:.1f} MiB in {given.folder}")
    if missing:
        print(f"No wheel for Python {given.python}: {', '.join(missing)}. The parts that need them will be reported.")
    if size > MAX_MIB:
        parser.exit(1, f"That is more than {MAX_MIB} MiB.\n")


if __name__ == "__main__":
    main()
