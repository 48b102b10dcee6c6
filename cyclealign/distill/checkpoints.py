"""Checkpoints of a transformers Trainer. Apart from `fitting`, as the Trainer takes seconds to load."""

import json
import shutil
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import get_last_checkpoint


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint of a transformers Trainer that was written to its end; None if there is none.

    One that a kill cut off would end the training at every start; it is removed.
    """
    while folder.is_dir() and (found := get_last_checkpoint(str(folder))):
        try:
            json.loads((Path(found) / TRAINER_STATE_NAME).read_text(encoding="utf-8"))  # is written last
        except (OSError, ValueError):
            shutil.rmtree(found)
        else:
            return str(found)
    return None
