"""Convert a written model to GGUF by the scripts of llama.cpp, which no package carries."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from cyclealign.errors import BadConfig, NotConverted

FOLDER_VARIABLE = "LLAMA_CPP"
MODEL_SCRIPT, ADAPTER_SCRIPT = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
FILE = "model.gguf"
SHOWN_LINES = 5


def find_script(whole: bool, folder: Path, base: str) -> Path:
    """Return llama.cpp's script for whole models or for adapters.

    Args:
        folder: where the export is going to be, for the message.
        base: folder or hub id of the base model, for the message.

    Raises:
        BadConfig: the script is not on this machine; the message has the commands to run.
    """
    name = MODEL_SCRIPT if whole else ADAPTER_SCRIPT
    checkout = os.environ.get(FOLDER_VARIABLE, "").strip()
    found = str(Path(checkout) / name) if checkout else shutil.which(name)
    if found is not None and Path(found).is_file():
        return Path(found).resolve()
    where = f"{checkout} ({FOLDER_VARIABLE}) holds no {name}" if checkout else f"there is no {name} on the PATH"
    raise BadConfig(
        f"--gguf needs llama.cpp's converter, and {where}. No package carries it (`gguf` holds the format alone). Get "
        f"it with: git clone --depth 1 https://github.com/ggml-org/llama.cpp -- then set {FOLDER_VARIABLE} to that "
        "folder and run again. Or export without --gguf, and run: "
        + " ".join(["python", f"llama.cpp/{name}", *_arguments(whole, folder, folder / FILE, base)])
    )


def convert(script: Path, whole: bool, folder: Path, base: str) -> Path:
    """Run the script on a written folder and return its file; the script's own output goes to the error message.

    Raises:
        NotConverted: the script failed or wrote no file.
    """
    target = folder / FILE
    done = subprocess.run(
        [sys.executable, str(script), *_arguments(whole, folder, target, base)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode or not target.is_file():
        lines = (done.stderr or done.stdout).strip().splitlines()[-SHOWN_LINES:]
        raise NotConverted(
            f"{script.name} ended with status {done.returncode} and wrote no {FILE}. Its last lines:\n"
            + "\n".join(lines)
            + "\nExport without --gguf to keep the weights, and convert them in an environment with the packages of "
            "llama.cpp's requirements.txt."
        )
    return target


def _arguments(whole: bool, folder: Path, target: Path, base: str) -> list[str]:
    if whole:
        return [str(folder), "--outfile", str(target)]
    named = ["--base", base] if Path(base).is_dir() else ["--base-model-id", base]
    return [str(folder), "--outfile", str(target), *named]
