"""The demo's pair: a teacher of good answers, and a smaller student of mixed ones, with one tokenizer."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cyclealign.demo.policy import Recipe, train_tokenizer, write_model
from cyclealign.distill.opd import demo_data
from cyclealign.distill.opd.config import VERSION
from cyclealign.files import appearing_folder
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

TEACHER = Recipe(pairs=6_000, vocabulary=1_024)
STUDENT = Recipe(pairs=6_000, vocabulary=1_024, hidden=96, intermediate=192, layers=1)


@dataclass(frozen=True)
class PairRecipe:
    """Sizes and training of the demo's models."""

    teacher: Recipe = TEACHER
    student: Recipe = STUDENT
    best_of: int = 8
    seed: int = 23


@dataclass(frozen=True)
class DemoPair:
    """The folders of the demo's models."""

    teacher: Path
    student: Path


def demo_pair(cache: Path, on_progress: OnProgress, recipe: PairRecipe | None = None) -> DemoPair:
    """Return the folders of the demo's models, trained first unless ``cache`` holds those of the same recipe."""
    recipe = recipe or PairRecipe()
    teacher_pairs = demo_data.teacher_pairs(recipe.teacher.pairs, recipe.best_of, recipe.seed)
    student_pairs = demo_data.student_pairs(recipe.student.pairs, recipe.seed)
    key = content_id("opd demo", asdict(recipe), [list(row) for row in (*teacher_pairs, *student_pairs)], VERSION)
    pair = DemoPair(cache / f"opd-demo-teacher-{key}", cache / f"opd-demo-student-{key}")
    texts = [text for row in student_pairs for text in row]
    for folder, model, pairs in (
        (pair.teacher, recipe.teacher, teacher_pairs),
        (pair.student, recipe.student, student_pairs),
    ):
        _write(folder, replace(model, seed=recipe.seed), pairs, texts, on_progress)
    return pair


def _write(folder: Path, recipe: Recipe, pairs: demo_data.Pairs, texts: Sequence[str], on_progress: OnProgress) -> None:
    if not folder.is_dir():
        with appearing_folder(folder) as unfinished:
            write_model(unfinished, recipe, pairs, train_tokenizer(texts, recipe), on_progress)
