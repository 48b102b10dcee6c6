"""The demo's encoder: a tiny BERT with random weights and a vocabulary of its own, written to a folder."""

from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

from cyclealign.distill.models.word_tokenizer import word_tokenizer

HIDDEN, LAYERS, HEADS, POSITIONS = 48, 1, 2, 64


def write_tiny_encoder(folder: Path, texts: Sequence[str], seed: int, layers: int = LAYERS) -> None:
    """An untrained encoder for words between spaces; the same texts and seed give the same weights."""
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    tokenizer = word_tokenizer(words, mask=True, model_max_length=POSITIONS)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=HIDDEN,
        num_hidden_layers=layers,
        num_attention_heads=HEADS,
        intermediate_size=2 * HIDDEN,
        max_position_embeddings=POSITIONS,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config)
    model.save_pretrained(folder, safe_serialization=True)
    tokenizer.save_pretrained(folder)
