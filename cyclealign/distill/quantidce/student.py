"""The metric: an encoder over (context, response), and a head that gives a coherence in (0, 1)."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from cyclealign.distill.pooling import matched_states, mean_state
from cyclealign.distill.quantidce import world
from cyclealign.distill.quantidce.config import EncoderSettings
from cyclealign.distill.quantidce.data import Scored
from cyclealign.distill.words import word_tokenizer
from cyclealign.errors import DistillError

transformers_logging.disable_progress_bar()

HEAD, SETTINGS = "head.safetensors", "metric.json"
# From fresh weights in a minute: one layer, larger first weights than BERT's own, no dropout.
TINY = {
    "hidden_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "intermediate_size": 128,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


class Scores(NamedTuple):
    """What the metric finds for B pairs: logits and coherence (B,), hidden states and attention maps by layer."""

    logits: Tensor
    coherence: Tensor
    hidden: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]


class Metric(nn.Module):
    """Linear(H, a), ELU, Linear(a, b), ELU, Linear(b, 1), sigmoid, over the encoder's pooled output (paper, sec. 3)."""

    def __init__(self, encoder: Any, tokenizer: Any, settings: EncoderSettings) -> None:
        super().__init__()
        self.encoder, self.tokenizer = encoder, tokenizer
        self.max_tokens, self.pooling = settings.max_tokens, settings.pooling
        first, second = settings.head
        size = encoder.config.hidden_size
        self.head = nn.Sequential(
            nn.Linear(size, first), nn.ELU(), nn.Linear(first, second), nn.ELU(), nn.Linear(second, 1)
        )

    def encode(self, pairs: Sequence[Scored]) -> Any:
        """Token ids of the pairs, padded; what is too long of a pair, first of its longer part, loses its beginning."""
        contexts, responses = [" ".join(each.context) for each in pairs], [each.response for each in pairs]
        return self.tokenizer(
            contexts,
            responses,
            truncation="longest_first",
            max_length=self.max_tokens,
            padding=True,
            return_tensors="pt",
        )

    def forward(self, tokens: Any, with_states: bool = False) -> Scores:
        """The scores of encoded pairs; hidden states and attention maps on demand."""
        found = self.encoder(**tokens, output_hidden_states=with_states, output_attentions=with_states)
        logits_B = self.head(self._pooled(found, tokens)).squeeze(-1)
        hidden, attention = (found.hidden_states, found.attentions) if with_states else ((), ())
        return Scores(logits_B, logits_B.sigmoid(), hidden, attention)

    def _pooled(self, found: Any, tokens: Any) -> Tensor:
        """One vector a pair, shape (B, H)."""
        if self.pooling == "mean":
            return mean_state(found.last_hidden_state, tokens["attention_mask"])
        if self.pooling == "match":
            return matched_states(found.last_hidden_state, *places_of_texts(tokens))
        pooled = getattr(found, "pooler_output", None)
        return cast(Tensor, found.last_hidden_state[:, 0] if pooled is None else pooled)

    def save(self, folder: Path) -> None:
        """Write encoder, tokenizer and head, all as safetensors and JSON."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_file(self.head.state_dict(), folder / HEAD)
        sizes = [self.head[0].out_features, self.head[2].out_features]
        made = {"max_tokens": self.max_tokens, "pooling": self.pooling, "head": sizes}
        (folder / SETTINGS).write_text(json.dumps(made))


def places_of_texts(tokens: Any) -> tuple[Tensor, Tensor]:
    """True at the tokens of the context, and at those of the response, shape (B, T) each; special tokens are neither.

    Token types would not do: not every encoder has them.
    """
    texts = [tokens.sequence_ids(row) for row in range(len(tokens["input_ids"]))]
    context, response = (torch.tensor([[each == text for each in row] for row in texts]) for text in (0, 1))
    return context, response


def fresh(settings: EncoderSettings, seed: int) -> Metric:
    """A metric with a fresh head, over the encoder that the settings name.

    Raises:
        DistillError: the encoder cannot be loaded.
    """
    torch.manual_seed(seed)
    if settings.model == "tiny":
        inputs = ["input_ids", "token_type_ids", "attention_mask"]
        tokenizer = word_tokenizer(
            world.vocabulary(), lowercase=True, punctuation=True, truncation_side="left", model_input_names=inputs
        )
        config = BertConfig(vocab_size=len(tokenizer), **{**TINY, **settings.sizes})
        config._attn_implementation = "eager"
        encoder: Any = BertModel(config)
    else:
        encoder, tokenizer = pretrained(settings.model)
    if settings.layers is not None:
        encoder.encoder.layer = encoder.encoder.layer[: settings.layers]
        encoder.config.num_hidden_layers = len(encoder.encoder.layer)
    return Metric(encoder, tokenizer, settings)


def pretrained(model: str) -> tuple[Any, Any]:
    """An encoder and its tokenizer from a folder or the hub. Only eager attention returns its maps."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(model, truncation_side="left")
        return AutoModel.from_pretrained(model, attn_implementation="eager", use_safetensors=True), tokenizer
    except (OSError, ValueError) as error:
        raise DistillError(f"The encoder '{model}' cannot be loaded: {error}") from error


def load(folder: Path) -> Metric:
    """A metric from its folder.

    Raises:
        DistillError: the folder holds none.
    """
    try:
        settings = EncoderSettings.model_validate_json((folder / SETTINGS).read_text())
        encoder, tokenizer = pretrained(str(folder))
        metric = Metric(encoder, tokenizer, settings)
        metric.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DistillError(f"{folder} holds no coherence metric that can be read: {error}") from error
    return metric.eval()
