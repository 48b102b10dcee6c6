"""Small BERT with random weights, for the jobs' demo data."""

from typing import Any

import torch
from transformers import BertConfig, BertModel


def random_bert(
    vocab_size: int, hidden: int, layers: int, heads: int, seed: int, add_pooling_layer: bool = True, **settings: Any
) -> BertModel:
    """Return a BERT without dropout; the same arguments give the same weights.

    Args:
        hidden: hidden size.
        add_pooling_layer: include BERT's pooler over the first state.
        settings: further options of `BertConfig`, such as intermediate_size and max_position_embeddings.
    """
    config = BertConfig(
        vocab_size=vocab_size,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **settings,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return BertModel(config, add_pooling_layer=add_pooling_layer)
