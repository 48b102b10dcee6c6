"""The demo's models: a tiny teacher with MRL, trained on the spot on first use, and an untrained smaller backbone."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import BertConfig, BertModel

from cyclealign.distill.leaf.config import VERSION
from cyclealign.distill.leaf.demo_data import World
from cyclealign.distill.leaf.train import Schedule, train
from cyclealign.distill.legacy import LEAF_DEMO_TEACHER
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.files import appearing_folder
from cyclealign.records import content_id

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Recipe:
    """Everything that makes the teacher, besides the world and the job's version."""

    seed: int = 11
    pairs: int = 10_000
    epochs: int = 1
    batch: int = 50
    learning_rate: float = 4e-3
    hidden: int = 64
    layers: int = 2
    dims: tuple[int, ...] = (64, 32, 16, 8)


def make_backbone(folder: Path, words: Sequence[str], hidden: int, layers: int, seed: int) -> Path:
    """Save a BERT with random weights and a tokenizer that knows ``words`` into ``folder``."""
    tokenizer = word_tokenizer(words, model_max_length=32)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)
    return folder


def demo_backbone(cache: Path, seed: int) -> Path:
    """The folder of the demo student's untrained backbone: one layer of 48, where the teacher has two of 64."""
    folder = cache / f"leaf-demo-backbone-{content_id('leaf backbone', seed, VERSION)}"
    if not folder.is_dir():
        with appearing_folder(folder) as made:
            make_backbone(made, _vocabulary(), hidden=48, layers=1, seed=seed)
    return folder


def demo_teacher(cache: Path, progress: Progress | None = None, recipe: Recipe | None = None) -> Path:
    """The folder of the demo teacher, trained first if none of the same making is in ``cache``.

    It learns by in-batch negatives at several dimensions at once (MRL), so that its first dimensions carry most.
    """
    recipe = recipe or Recipe()
    folder = cache / f"leaf-demo-teacher-{content_id('leaf teacher', asdict(recipe), VERSION)}"
    before = cache / LEAF_DEMO_TEACHER
    if VERSION == 1 and recipe == Recipe() and before.is_dir():
        return before
    if not folder.is_dir():
        with appearing_folder(folder) as made:
            _make_teacher(made, recipe, progress or (lambda done, of: None))
    return folder


def _vocabulary() -> list[str]:
    return [*World(0).words, "?"]


def _make_teacher(folder: Path, recipe: Recipe, progress: Progress) -> None:
    backbone = make_backbone(folder / "backbone", _vocabulary(), recipe.hidden, recipe.layers, recipe.seed)
    model = SentenceTransformer(modules=[Transformer(str(backbone)), Pooling(recipe.hidden), Normalize()], device="cpu")
    pairs = World(recipe.seed).pairs(recipe.pairs)
    rows = Dataset.from_dict({"anchor": [asked for asked, _ in pairs], "positive": [text for _, text in pairs]})
    loss = MatryoshkaLoss(model, MultipleNegativesRankingLoss(model), list(recipe.dims))
    schedule = Schedule(recipe.batch, recipe.epochs, 1, recipe.learning_rate, recipe.learning_rate / 20, 0.0)
    with tempfile.TemporaryDirectory() as checkpoints:
        train(model, rows, loss, schedule, recipe.seed, Path(checkpoints), progress)
    model.save_pretrained(str(folder), create_model_card=False)
    shutil.rmtree(backbone)
