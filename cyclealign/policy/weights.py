"""What a round's training leaves in its folder: a LoRA adapter, or all weights of a model; its files say which.

Both are a `records.Adapter` in the history: a folder, the hash of its weights, and what it was trained from.
"""

from pathlib import Path
from typing import TypeAlias

from cyclealign.files import hash_of_file, hash_of_files

ADAPTER_WEIGHTS = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
MODEL_CONFIG = "config.json"
# Of whole weights: large ones are cut into several files, and an index says which tensor is in which.
MODEL_PARTS = (MODEL_CONFIG, "*.safetensors", "*.safetensors.index.json")

# Name, size in bytes and time of change in ns, of each file.
State: TypeAlias = tuple[tuple[str, int, int], ...]


def are_whole(folder: Path) -> bool:
    """Whether the folder holds all weights of a model, which are loaded in place of the base model's."""
    return (folder / MODEL_CONFIG).is_file() and not (folder / ADAPTER_CONFIG).is_file()


def files(folder: Path) -> list[Path]:
    """The files that make the weights; [] where they are not all there."""
    if not are_whole(folder):
        return [each for each in (folder / ADAPTER_WEIGHTS,) if each.is_file()]
    found = sorted({path for pattern in MODEL_PARTS for path in folder.glob(pattern)})
    return found if any(path.suffix == ".safetensors" for path in found) else []


def content_hash(folder: Path) -> str | None:
    """SHA-256 of an adapter's weights, or over the names and bytes of all files of whole weights; None without any."""
    found = files(folder)
    if not found:
        return None
    return hash_of_files(folder, found) if are_whole(folder) else hash_of_file(found[0])


def state(folder: Path) -> State:
    """What the files look like from outside: as long as it stays the same, they need not be hashed again."""
    return tuple((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files(folder))
