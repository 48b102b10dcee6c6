"""Demo encoder: a small BERT with random weights and a word tokenizer, in a folder that loads like any model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cyclealign.distill.models.demo_bert import random_bert
from cyclealign.distill.models.word_tokenizer import word_tokenizer

HIDDEN, LAYERS, HEADS, POSITIONS = 48, 1, 2, 64


def write_encoder(folder: Path, texts: Sequence[str], seed: int, layers: int = LAYERS) -> None:
    """Write model and tokenizer into ``folder``; every word of ``texts`` becomes a token.

    The same texts and seed give the same weights.
    """
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    tokenizer = word_tokenizer(words, mask=True, model_max_length=POSITIONS)
    sizes: dict[str, Any] = {"intermediate_size": 2 * HIDDEN, "max_position_embeddings": POSITIONS, "pad_token_id": 0}
    random_bert(len(tokenizer), HIDDEN, layers, HEADS, seed, **sizes).save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
