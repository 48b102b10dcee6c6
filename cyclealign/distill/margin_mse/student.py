"""Students of every kind behind one interface: built from the settings, or loaded from a folder."""

import json
from collections.abc import Sequence
from pathlib import Path

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Student
from cyclealign.distill.margin_mse.students.cat import CrossEncoderStudent
from cyclealign.distill.margin_mse.students.colbert import LateInteractionStudent
from cyclealign.distill.margin_mse.students.dot import BiEncoderStudent
from cyclealign.distill.margin_mse.students.prett import SplitStudent
from cyclealign.distill.margin_mse.students.tk import KernelStudent
from cyclealign.errors import DistillError
from cyclealign.files import appearing_folder
from cyclealign.policy.device import device

SETTINGS_FILE = "student.json"
KINDS: dict[str, type[Student]] = {
    "dot": BiEncoderStudent,
    "colbert": LateInteractionStudent,
    "prett": SplitStudent,
    "tk": KernelStudent,
    "cat": CrossEncoderStudent,
}


def build_student(settings: StudentSettings, texts: Sequence[str], seed: int) -> Student:
    """A student that has learned nothing of the task yet, on the accelerator if there is one.

    The same seed gives the same weights on every machine: they are drawn on the CPU.

    Args:
        texts: passages, from which a kind without a tokenizer of its own takes its vocabulary.

    Raises:
        DistillError: the encoder cannot be loaded, or does not suit the kind.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KINDS[settings.kind].build(settings, texts).to(device())


def save_student(student: Student, folder: Path) -> None:
    """Write a folder that `load_student` reads; `dot`, `colbert` and `cat` load in sentence-transformers too."""
    with appearing_folder(folder) as made:
        student.save(made)
        (made / SETTINGS_FILE).write_text(student.settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_student(folder: Path) -> Student:
    """The student that `save_student` wrote, on the accelerator if there is one.

    Raises:
        DistillError: the folder holds no student.
    """
    try:
        settings = StudentSettings(**json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DistillError(f"{folder}: no student of this job lies there ({error}).") from error
    return KINDS[settings.kind].load(settings, folder).to(device())
