"""Checkpoints of a transformers Trainer. A module of its own, since the Trainer takes seconds to import."""

import json
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint


def last_checkpoint(folder: Path) -> str | None:
    """Return the newest complete checkpoint of a transformers Trainer; None if there is none.

    Incomplete ones, from an interrupted run, are deleted: the training could not resume from them.
    """
    while folder.is_dir() and (checkpoint := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(checkpoint) / TRAINER_STATE_NAME).read_text(encoding="utf-8"))  # written last
        except (OSError, ValueError):
            shutil.rmtree(checkpoint)
        else:
            return str(checkpoint)
    return None
