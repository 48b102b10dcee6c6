"""The metric: an encoder of (context, response) pairs with a head that returns a coherence in (0, 1)."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, BertConfig, BertModel
from transformers.utils import logging as transformers_logging

from cyclealign.distill.models.encoders import limit_layers, load_failure
from cyclealign.distill.models.pooling import matched_states, mean_state
from cyclealign.distill.models.word_tokenizer import word_tokenizer
from cyclealign.distill.quantidce import demo_data
from cyclealign.distill.quantidce.config import DEMO, EncoderSettings
from cyclealign.distill.quantidce.data import Scored
from cyclealign.errors import DistillError
from cyclealign.policy.device import device

transformers_logging.disable_progress_bar()

HEAD, SETTINGS = "head.safetensors", "metric.json"
# Learns from new weights within a minute: one layer, larger initial weights than BERT's, no dropout.
DEMO_SIZES = {
    "hidden_size": 96,
    "num_hidden_layers": 1,
    "num_attention_heads": 6,
    "intermediate_size": 128,
    "initializer_range": 0.1,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


class Scores(NamedTuple):
    """The metric's output for B pairs: logits and coherence, shape (B,); hidden states and attention maps by layer."""

    logits: Tensor
    coherence: Tensor
    hidden: tuple[Tensor, ...]
    attention: tuple[Tensor, ...]


class Metric(nn.Module):
    """An encoder's pooled output, Linear(H, a), ELU, Linear(a, b), ELU, Linear(b, 1), sigmoid (paper, section 3)."""

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
        """Tokenize and pad the pairs; too long ones lose the beginning of their longer text first."""
        contexts, responses = [" ".join(pair.context) for pair in pairs], [pair.response for pair in pairs]
        tokens = self.tokenizer(
            contexts,
            responses,
            truncation="longest_first",
            max_length=self.max_tokens,
            padding=True,
            return_tensors="pt",
        )
        return tokens.to(self.device)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.head.parameters()).device

    def forward(self, tokens: Any, with_states: bool = False) -> Scores:
        """Return the scores of encoded pairs, with hidden states and attention maps if asked for."""
        output = self.encoder(**tokens, output_hidden_states=with_states, output_attentions=with_states)
        logits_B = self.head(self._pooled(output, tokens)).squeeze(-1).float()
        hidden, attention = (output.hidden_states, output.attentions) if with_states else ((), ())
        return Scores(logits_B, logits_B.sigmoid(), hidden, attention)

    def _pooled(self, output: Any, tokens: Any) -> Tensor:
        """Return one vector per pair, shape (B, H)."""
        if self.pooling == "mean":
            return mean_state(output.last_hidden_state, tokens["attention_mask"])
        if self.pooling == "match":
            return matched_states(output.last_hidden_state, *text_masks(tokens))
        pooled = getattr(output, "pooler_output", None)
        return cast(Tensor, output.last_hidden_state[:, 0] if pooled is None else pooled)

    def save(self, folder: Path) -> None:
        """Write encoder, tokenizer and head as safetensors and JSON."""
        self.encoder.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_file(self.head.state_dict(), folder / HEAD)
        sizes = [self.head[0].out_features, self.head[2].out_features]
        settings = {"max_tokens": self.max_tokens, "pooling": self.pooling, "head": sizes}
        (folder / SETTINGS).write_text(json.dumps(settings))


def text_masks(tokens: Any) -> tuple[Tensor, Tensor]:
    """Return masks of the tokens of the context and of the response, shape (B, T) each, without special tokens.

    They come from the tokenizer, since not every encoder has token types.
    """
    ids_BT = tokens["input_ids"]
    texts = [tokens.sequence_ids(row) for row in range(len(ids_BT))]
    context, response = (
        torch.tensor([[token == text for token in row] for row in texts], device=ids_BT.device) for text in (0, 1)
    )
    return context, response


def fresh(settings: EncoderSettings, seed: int) -> Metric:
    """Return a metric with a new head on the encoder of the settings; reproducible by seed.

    Raises:
        DistillError: the encoder cannot be loaded, has fewer layers, or is too short for `max_tokens`.
    """
    torch.manual_seed(seed)
    if settings.model == DEMO:
        tokenizer = word_tokenizer(
            demo_data.vocabulary(),
            lowercase=True,
            punctuation=True,
            truncation_side="left",
            model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        )
        config = BertConfig(vocab_size=len(tokenizer), **{**DEMO_SIZES, **settings.sizes})
        config._attn_implementation = "eager"
        limit_layers(config, settings.layers, settings.model, "encoder.layers")
        encoder: Any = BertModel(config)
    else:
        encoder, tokenizer = pretrained(settings.model, settings.layers)
    check_positions(encoder, settings)
    return Metric(encoder, tokenizer, settings).to(device())


def pretrained(model: str, layers: int | None = None) -> tuple[Any, Any]:
    """Load an encoder and its tokenizer from a folder or the hub, with eager attention, which alone returns its maps.

    Args:
        model: folder or id.
        layers: number of layers to load, the first ones; None loads all.

    Raises:
        DistillError: it cannot be loaded, or has fewer layers.
    """
    try:
        config = AutoConfig.from_pretrained(model, trust_remote_code=False)
        limit_layers(config, layers, model, "encoder.layers")
        tokenizer = AutoTokenizer.from_pretrained(model, truncation_side="left", trust_remote_code=False)
        with quiet() if layers is not None else nullcontext():  # no report of the layers that are left out on purpose
            encoder = AutoModel.from_pretrained(
                model, config=config, attn_implementation="eager", use_safetensors=True, trust_remote_code=False
            )
        return encoder, tokenizer
    except (OSError, ValueError) as error:
        raise DistillError(f"The encoder '{model}' cannot be loaded: {load_failure(error)}") from error


@contextmanager
def quiet() -> Iterator[None]:
    """Silence the warnings of transformers within the block."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def check_positions(encoder: Any, settings: EncoderSettings) -> None:
    """Check that the encoder has a position for each token of the longest pair.

    Raises:
        DistillError: it has fewer.
    """
    positions = getattr(encoder.config, "max_position_embeddings", None)
    if not positions or positions < 0:  # relative positions: any length is possible
        return
    # Some encoders number positions from after the padding index (RoBERTa: 514 positions for 512 tokens).
    table = getattr(getattr(encoder, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    longest = positions if padding is None else positions - padding - 1
    if settings.max_tokens > longest:
        raise DistillError(
            f"encoder.max_tokens is {settings.max_tokens}; '{settings.model}' takes {longest} tokens at most. Set it "
            "to that or less."
        )


def load(folder: Path) -> Metric:
    """Load a metric from its folder.

    Raises:
        DistillError: the folder does not hold a metric.
    """
    try:
        settings = EncoderSettings.model_validate_json((folder / SETTINGS).read_text())
        encoder, tokenizer = pretrained(str(folder))
        metric = Metric(encoder, tokenizer, settings)
        metric.head.load_state_dict(load_file(folder / HEAD))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DistillError(f"{folder} does not hold a readable coherence metric: {error}") from error
    return metric.to(device()).eval()
