"""Demo encoder: a small BERT with random weights and a word tokenizer, in a folder that loads like any model."""

from collections.abc import Iterable
from pathlib import Path

import torch
from transformers import BertModel

from cyclealign.distill.models.demo_bert import random_bert
from cyclealign.distill.models.word_tokenizer import word_tokenizer

LAYERS, HEADS, POSITIONS = 3, 4, 128
SHARPNESS = 1.7  # of the first layer's attention: enough for a token to find its twin among seventy others


def write_encoder(folder: Path, texts: Iterable[str], hidden: int, layers: int = LAYERS, seed: int = 0) -> None:
    """Write model and tokenizer into ``folder``; every word of ``texts`` becomes a token."""
    words = sorted({word for text in texts for word in text.split()})
    tokenizer = word_tokenizer(words)
    tokenizer.save_pretrained(folder)
    model = random_bert(
        len(tokenizer),
        hidden,
        layers,
        HEADS,
        seed,
        add_pooling_layer=False,
        intermediate_size=4 * hidden,
        max_position_embeddings=POSITIONS,
        # BERT's own 0.02 suits a hidden size of 768; at this size it would nearly switch attention off.
        initializer_range=hidden**-0.5,
        pad_token_id=0,
    )
    _attend_to_twins(model)
    model.save_pretrained(folder, safe_serialization=True)


@torch.no_grad()
def _attend_to_twins(model: BertModel) -> None:
    """Initialise the first layer so that a token attends to equal tokens, wherever they are.

    Keys equal queries (as in mimetic initialisation, arXiv 2305.09828), and both ignore the segment. A query token then
    reads from the segment whether the window holds the same word. From plain random weights the demo data are not
    learned within the demo's minute.
    """
    embeddings, attention = model.embeddings, model.encoder.layer[0].attention.self
    embeddings.position_embeddings.weight.mul_(0.1)
    types_2H = embeddings.token_type_embeddings.weight
    segment_axis_H = torch.nn.functional.normalize(types_2H[1] - types_2H[0], dim=0)
    attention.query.weight.mul_(SHARPNESS)
    attention.query.weight.sub_(torch.outer(attention.query.weight @ segment_axis_H, segment_axis_H))
    attention.key.weight.copy_(attention.query.weight)
