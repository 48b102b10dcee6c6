"""Labels are computed once, and a run that is killed between parts computes the missing ones only."""

import numpy as np
import pytest

from cyclealign.distill.label_cache import cached_labels, cached_labels_in_parts, parts_of

MADE_OF = {"model": "a-teacher", "data": "hash", "tau": 0.5}


class Teacher:
    """Counts what it is asked; a kill comes after so many parts."""

    def __init__(self, parts: int = 99) -> None:
        self.asked: list[range] = []
        self.parts = parts

    def __call__(self, part: range) -> dict[str, np.ndarray]:
        if len(self.asked) == self.parts:
            raise KeyboardInterrupt
        self.asked.append(part)
        return {"scores": np.array([[each, each / 2] for each in part]), "ids": np.array([f"d{each}" for each in part])}


def test_labels_are_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return {"scores": np.arange(3.0), "ids": np.array(["ä", "b", "c"])}

    first, second = (
        cached_labels(tmp_path, MADE_OF, make),
        cached_labels(tmp_path, dict(reversed(MADE_OF.items())), make),
    )
    assert len(made) == 1
    assert first["ids"].tolist() == second["ids"].tolist() == ["ä", "b", "c"]
    cached_labels(tmp_path, MADE_OF | {"tau": 1.0}, make)
    assert len(made) == 2


def test_a_kill_while_labelling_leaves_nothing_that_looks_whole(tmp_path):
    def killed():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_labels(tmp_path, MADE_OF, killed)
    assert cached_labels(tmp_path, MADE_OF, lambda: {"x": np.ones(2)})["x"].tolist() == [1, 1]


def test_a_killed_run_computes_only_the_missing_parts(tmp_path):
    """Prevents a teacher from being paid twice."""
    parts = parts_of(7, 2)
    first = Teacher(parts=2)
    with pytest.raises(KeyboardInterrupt):
        cached_labels_in_parts(tmp_path, MADE_OF, parts, first)
    second, told = Teacher(), []
    found = cached_labels_in_parts(tmp_path, MADE_OF, parts, second, lambda done, of: told.append((done, of)))
    assert [*first.asked, *second.asked] == parts
    assert len(second.asked) == 2
    assert found["scores"].tolist() == [[each, each / 2] for each in range(7)]
    assert found["ids"].tolist() == [f"d{each}" for each in range(7)]
    assert told[-1] == (4, 4)


def test_parts_of_other_work_are_not_taken(tmp_path):
    """Prevents labels of another model, or of another cut of the data, from being mixed in."""
    cached_labels_in_parts(tmp_path, MADE_OF, parts_of(6, 2), Teacher())
    for made_of, size in ((MADE_OF | {"model": "other"}, 2), (MADE_OF, 3)):
        teacher = Teacher()
        cached_labels_in_parts(tmp_path, made_of, parts_of(6, size), teacher)
        assert len(teacher.asked) == 6 / size


def test_a_damaged_part_is_made_again(tmp_path):
    """Prevents a torn disk from being read as labels."""
    cached_labels_in_parts(tmp_path, MADE_OF, parts_of(6, 2), Teacher())
    (damaged,) = tmp_path.rglob("part-00001.npz")
    damaged.write_bytes(damaged.read_bytes()[:100])
    teacher = Teacher()
    found = cached_labels_in_parts(tmp_path, MADE_OF, parts_of(6, 2), teacher)
    assert teacher.asked == [range(2, 4)]
    assert len(found["ids"]) == 6


def test_a_part_that_lacks_items_is_refused(tmp_path):
    """Prevents labels from slipping against the items that they belong to."""
    with pytest.raises(ValueError, match="one row per item"):
        cached_labels_in_parts(tmp_path, MADE_OF, parts_of(4, 2), lambda part: {"scores": np.zeros(1)})
