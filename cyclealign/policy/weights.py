"""The folder of trained weights: a LoRA adapter, or all weights of a model; its files say which.

Both are a `records.Adapter`: a folder, the hash of its weights, and its parent.
"""

from pathlib import Path
from typing import TypeAlias

from cyclealign.files import hash_of_file, hash_of_files

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MODEL_CONFIG = "config.json"
# Of full weights: large ones are sharded into several files, with an index of the tensors in each.
MODEL_PARTS = (MODEL_CONFIG, "*.safetensors", "*.safetensors.index.json")

# (name, size in bytes, modification time in ns) of each file.
FileStates: TypeAlias = tuple[tuple[str, int, int], ...]


def is_full_model(folder: Path) -> bool:
    """Return whether the folder holds all weights of a model, to be loaded in place of the base model."""
    return (folder / MODEL_CONFIG).is_file() and not (folder / ADAPTER_CONFIG).is_file()


def files(folder: Path) -> list[Path]:
    """Return the files that determine the weights; [] if weights are missing."""
    if not is_full_model(folder):
        adapter = folder / ADAPTER_WEIGHTS
        return [adapter] if adapter.is_file() else []
    parts = sorted({path for pattern in MODEL_PARTS for path in folder.glob(pattern)})
    return parts if any(path.suffix == ".safetensors" for path in parts) else []


def content_hash(folder: Path) -> str | None:
    """Return the SHA-256 of an adapter's weights, or of names and bytes of all files of a full model; None if absent.

    The hash of an adapter is stored in histories: it never changes.
    """
    parts = files(folder)
    if not parts:
        return None
    return hash_of_files(folder, parts) if is_full_model(folder) else hash_of_file(parts[0])


def file_states(folder: Path) -> FileStates:
    """Return size and time of each file of the weights: as long as they stay the same, no file is hashed again."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files(folder))
