"""Demo models: a small teacher with MRL, trained on first use, and a smaller untrained backbone for the student."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from cyclealign.distill.leaf.config import VERSION, TrainingSettings
from cyclealign.distill.leaf.demo_data import DemoTexts
from cyclealign.distill.leaf.train import train
from cyclealign.distill.legacy import LEAF_DEMO_TEACHER
from cyclealign.distill.models.demo_bert import random_bert
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.files import appearing_folder
from cyclealign.progress import OnProgress
from cyclealign.records import content_id

MAX_TOKENS = 32


@dataclass(frozen=True)
class TeacherRecipe:
    """Everything that the demo teacher depends on, apart from the demo texts and the job's version."""

    seed: int = 11
    pairs: int = 10_000
    epochs: int = 1
    batch: int = 50
    learning_rate: float = 4e-3
    hidden: int = 64
    layers: int = 2
    dims: tuple[int, ...] = (64, 32, 16, 8)


def write_backbone(folder: Path, words: Sequence[str], hidden: int, layers: int, seed: int) -> Path:
    """Write a BERT with random weights, and a tokenizer of ``words``, into ``folder``."""
    tokenizer = word_tokenizer(words, model_max_length=MAX_TOKENS)
    tokenizer.save_pretrained(folder)
    sizes: dict[str, Any] = {"intermediate_size": 2 * hidden, "max_position_embeddings": MAX_TOKENS}
    random_bert(len(tokenizer), hidden, layers, heads=4, seed=seed, **sizes).save_pretrained(folder)
    return folder


def demo_backbone(cache: Path, seed: int) -> Path:
    """Return the folder of the demo student's untrained backbone: one layer of size 48; the teacher has two of 64."""
    folder = cache / f"leaf-demo-backbone-{content_id('leaf backbone', seed, VERSION)}"
    if not folder.is_dir():
        with appearing_folder(folder) as new_folder:
            write_backbone(new_folder, _vocabulary(), hidden=48, layers=1, seed=seed)
    return folder


def demo_teacher(cache: Path, on_progress: OnProgress | None = None, recipe: TeacherRecipe | None = None) -> Path:
    """Return the folder of the demo teacher, trained first unless ``cache`` holds one of the same recipe.

    It is trained with in-batch negatives at several dimensions at once (MRL, arXiv 2205.13147), so its first
    dimensions carry most of the information.
    """
    recipe = recipe or TeacherRecipe()
    folder = cache / f"leaf-demo-teacher-{content_id('leaf teacher', asdict(recipe), VERSION)}"
    legacy_folder = cache / LEAF_DEMO_TEACHER
    if VERSION == 1 and recipe == TeacherRecipe() and legacy_folder.is_dir():
        return legacy_folder
    if not folder.is_dir():
        with appearing_folder(folder) as new_folder:
            _train_teacher(new_folder, recipe, on_progress or (lambda done, total: None))
    return folder


def _vocabulary() -> list[str]:
    return [*DemoTexts(0).words, "?"]


def _train_teacher(folder: Path, recipe: TeacherRecipe, on_progress: OnProgress) -> None:
    backbone = write_backbone(folder / "backbone", _vocabulary(), recipe.hidden, recipe.layers, recipe.seed)
    model = SentenceTransformer(modules=[Transformer(str(backbone)), Pooling(recipe.hidden), Normalize()], device="cpu")
    pairs = DemoTexts(recipe.seed).pairs(recipe.pairs)
    rows = Dataset.from_dict({"anchor": [query for query, _ in pairs], "positive": [text for _, text in pairs]})
    loss = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), list(recipe.dims))
    settings = TrainingSettings(
        batch=recipe.batch,
        epochs=recipe.epochs,
        cycles=1,
        learning_rate=recipe.learning_rate,
        last_learning_rate=recipe.learning_rate / 20,
        weight_decay=0.0,
    )
    with tempfile.TemporaryDirectory() as checkpoints:
        train(model, rows, loss, settings, recipe.seed, Path(checkpoints), on_progress)
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(backbone)
