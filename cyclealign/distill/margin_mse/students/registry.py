"""Students by kind: build one from settings, save it, load it."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Student
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
    """Return an untrained student, on the GPU if one is available.

    The same seed gives the same weights on every machine, as they are drawn on the CPU.

    Args:
        texts: passages; `tk` takes its vocabulary from them.

    Raises:
        DistillError: the encoder cannot be loaded, or does not suit the kind.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return KINDS[settings.kind].build(settings, texts).to(device())


def save_student(student: Student, folder: Path) -> None:
    """Write a folder for `load_student`; those of `dot`, `colbert` and `cat` load in sentence-transformers too."""
    with appearing_folder(folder) as new_folder:
        student.save(new_folder)
        (new_folder / SETTINGS_FILE).write_text(student.settings.model_dump_json(indent=2) + "\n", encoding="utf-8")


def load_student(folder: Path) -> Student:
    """Load the student that `save_student` wrote, on the GPU if one is available.

    Raises:
        DistillError: the folder holds no student.
    """
    try:
        settings = StudentSettings(**json.loads((folder / SETTINGS_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DistillError(f"{folder} does not hold a student of this job ({error}).") from error
    return KINDS[settings.kind].load(settings, folder).to(device())
