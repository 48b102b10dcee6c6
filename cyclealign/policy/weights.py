"""The folder of trained weights: a LoRA adapter, or all weights of a model; its files say which.

Both are a `records.Adapter`: a folder, the hash of its weights, and its parent.
"""

import hashlib
import json
from pathlib import Path
from typing import TypeAlias

from cyclealign.files import hash_of_file, hash_of_files

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MODEL_CONFIG = "config.json"
# Of full weights: large ones are sharded into several files, with an index of the tensors in each.
MODEL_PARTS = (MODEL_CONFIG, "*.safetensors", "*.safetensors.index.json")
# Of an adapter's config: what does not determine its function.
ELSEWHERE = {"base_model_name_or_path", "peft_version", "auto_mapping"}

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
    """Return the SHA-256 of weights with what their config says of their use; None if weights are absent.

    Of an adapter: of its weights' bytes and of the settings in its config on which its function depends. Of a full
    model: of names and bytes of all its files. Histories keep the hash: compare with `holds`.
    """
    parts = files(folder)
    if not parts:
        return None
    if is_full_model(folder):
        return hash_of_files(folder, parts)
    bytes_hash = hash_of_file(parts[0])
    config = folder / ADAPTER_CONFIG
    if not config.is_file():
        return bytes_hash
    return hashlib.sha256(f"{bytes_hash} {_settings(config.read_bytes())}".encode()).hexdigest()


def holds(folder: Path, recorded: str) -> bool:
    """Return whether the folder holds the weights of a recorded hash; that of earlier versions has no config."""
    if recorded == content_hash(folder):
        return True
    parts = [] if is_full_model(folder) else files(folder)
    return bool(parts) and (folder / ADAPTER_CONFIG).is_file() and recorded == hash_of_file(parts[0])


def _settings(config: bytes) -> str:
    """Return the settings of an adapter's config in one form: PEFT writes sets as lists in any order.

    Without the path of the base model, which is another one on each machine, and PEFT's version.
    """
    try:
        values = json.loads(config)
        kept = {name: _sorted(value) for name, value in values.items() if name not in ELSEWHERE}
    except (ValueError, AttributeError, RecursionError):  # damaged
        return config.hex()
    return json.dumps(kept, sort_keys=True)


def _sorted(value: object) -> object:
    names = isinstance(value, list) and all(isinstance(each, str) for each in value)
    return sorted(value) if names and isinstance(value, list) else value


def file_states(folder: Path) -> FileStates:
    """Return size and time of each file of the weights: as long as they stay the same, no file is hashed again."""
    config = folder / ADAPTER_CONFIG
    parts = [*files(folder), *([config] if config.is_file() else [])]
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in parts)
