"""PLD as a whole: a student that cannot be built is reported before anything is trained."""

from pathlib import Path

import pytest

from cyclealign.errors import DistillError
from tests.distill.conftest import Distil

pytestmark = pytest.mark.slow

TINY = """
[data]
classes = 4
train_per_class = 6
[teacher]
sizes = { embedding_size = 4, hidden_sizes = [4], depths = [1], layer_type = "basic" }
epochs = 1
[student]
model = "/nowhere/at/all"
epochs = 1
"""


def test_a_student_that_cannot_be_built_is_reported_before_the_teacher_is_trained(
    distil: Distil, tmp_path: Path
) -> None:
    """Prevents hours of a teacher's training from ending in a misspelt name."""
    with pytest.raises(DistillError, match="'/nowhere/at/all' cannot be built"):
        distil("pld", TINY)
    assert not (tmp_path / "home" / "distill" / "pld" / "labels").exists()
