"""A tiny BERT with random weights and a word tokenizer, made on the spot and loaded like any other model folder."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from cyclealign.distill.models.word_tokenizer import word_tokenizer

SHARPNESS = 1.7  # of the first layer's attention: enough that a token finds its twin among seventy others


@dataclass(frozen=True)
class Shape:
    """Of the encoder."""

    hidden: int = 128
    layers: int = 3
    heads: int = 4
    positions: int = 128
    seed: int = 0


def save_tiny(folder: Path, texts: Iterable[str], shape: Shape) -> None:
    """Write model and tokenizer into ``folder``; every word of ``texts`` is a token."""
    words = sorted({word for text in texts for word in text.split()})
    tokenizer = word_tokenizer(words)
    tokenizer.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        intermediate_size=4 * shape.hidden,
        max_position_embeddings=shape.positions,
        # BERT's own 0.02 suits a width of 768; at this one it would all but switch attention off.
        initializer_range=shape.hidden**-0.5,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        model = BertModel(config, add_pooling_layer=False)
    _attend_to_twins(model)
    model.save_pretrained(folder, safe_serialization=True)


@torch.no_grad()
def _attend_to_twins(model: BertModel) -> None:
    """Start the first layer so that a token attends to the same token wherever it stands.

    Keys are queries (after mimetic initialisation, arXiv 2305.09828), and both are blind to the segment. So what a
    token of the query finds, itself alone or a twin in the window too, shows in the segment that it reads. From plain
    random weights this world is not learnt within the demo's minute.
    """
    embeddings, attention = model.embeddings, model.encoder.layer[0].attention.self
    embeddings.position_embeddings.weight.mul_(0.1)
    types_2H = embeddings.token_type_embeddings.weight
    apart_H = torch.nn.functional.normalize(types_2H[1] - types_2H[0], dim=0)
    attention.query.weight.mul_(SHARPNESS)
    attention.query.weight.sub_(torch.outer(attention.query.weight @ apart_H, apart_H))
    attention.key.weight.copy_(attention.query.weight)
