"""CPRD as a whole: trained, kept, and found again."""

import pytest

from cyclealign.distill.cprd import student
from cyclealign.distill.cprd.config import DataSettings
from tests.distill.conftest import Distil

pytestmark = pytest.mark.slow

TINY = """
runs = 1
arms = ["none", "cprd"]
[data]
train = 16
test = 6
image_size = 16
[student]
epochs = 1
layers = 1
size = 16
batch = 8
[distillation]
num_hard_negatives = 4
"""


def test_the_job_leaves_a_student_and_its_figures(distil: Distil) -> None:
    """Prevents a job whose student cannot be loaded, and one that trains anew what is finished."""
    first = distil("cprd", TINY)
    assert distil("cprd", TINY)["id"] == first["id"]
    assert {row["arm"] for row in first["measures"]} == {"none", "cprd"}
    assert {row["step"] for row in first["steps"]} == {"data", "student", "label", "fit none", "fit cprd"}
    loaded = student.load(first["student_path"], DataSettings(image_size=16))
    assert loaded.of_texts(["a red circle"]).shape == (1, 8)
