"""Split layers (PreTTR, arXiv 2004.14255, without its compression): the first layers read query and passage apart.

The states of a passage after these layers depend on the passage alone and can be precomputed; the join and the other
layers run per pair. Positions of a passage therefore start at the maximum query length, not at that of its query.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoTokenizer
from transformers.masking_utils import create_bidirectional_mask

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Features, Student
from cyclealign.distill.margin_mse.students.encoders import layers_of, load_encoder
from cyclealign.errors import DistillError

HEAD = "head.safetensors"


class SplitStudent(Student):
    """score(q, p) = w . CLS of the joined sequence; the passage's [CLS] is dropped at the join."""

    def __init__(self, settings: StudentSettings, encoder: Any, tokenizer: Any) -> None:
        super().__init__(settings)
        self.encoder, self.tokenizer = encoder, tokenizer
        self.head = nn.Linear(encoder.config.hidden_size, 1, bias=False)
        if settings.split > len(layers_of(encoder)):
            raise DistillError(
                f"student.split is {settings.split}, but the encoder has {len(layers_of(encoder))} layers."
            )
        longest = settings.query_tokens + settings.passage_tokens
        if longest > encoder.config.max_position_embeddings:
            raise DistillError(
                f"student.query_tokens + student.passage_tokens is {longest}, but the encoder has only "
                f"{encoder.config.max_position_embeddings} positions."
            )

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        return cls(settings, *load_encoder(settings))

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        encoder = AutoModel.from_pretrained(folder, use_safetensors=True, trust_remote_code=False)
        student = cls(settings, encoder, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))
        student.head.load_state_dict(load_file(folder / HEAD))
        return student

    def save(self, folder: Path) -> None:
        self.encoder.save_pretrained(folder, safe_serialization=True)
        self.tokenizer.save_pretrained(folder)
        save_file(self.head.state_dict(), folder / HEAD)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries": self._tokens(queries, self.settings.query_tokens),
            "passages": self._tokens(passages, self.settings.passage_tokens),
        }

    def _tokens(self, texts: Sequence[str], max_tokens: int) -> Features:
        tokens = self.tokenizer(list(texts), truncation=True, max_length=max_tokens, padding=True, return_tensors="pt")
        return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}

    def first_layers(self, features: Features, start: int) -> Tensor:
        """Return hidden states after the split, shape (texts, tokens, D), for positions from ``start`` on."""
        ids_BT = features["input_ids"]
        positions_1T = torch.arange(start, start + ids_BT.shape[1], device=ids_BT.device).unsqueeze(0)
        hidden_BTD = self.encoder.embeddings(input_ids=ids_BT, position_ids=positions_1T)
        return self._run(hidden_BTD, features["attention_mask"], slice(None, self.settings.split))

    def _run(self, hidden_BTD: Tensor, mask_BT: Tensor, layers: slice) -> Tensor:
        mask = create_bidirectional_mask(self.encoder.config, inputs_embeds=hidden_BTD, attention_mask=mask_BT)
        for layer in layers_of(self.encoder)[layers]:
            hidden_BTD = layer(hidden_BTD, mask)
        return hidden_BTD

    def forward(self, features: Features) -> Tensor:
        queries_BQD = self.first_layers(features["queries"], 0)
        passages_MPD = self.first_layers(features["passages"], self.settings.query_tokens)
        per_query = len(passages_MPD) // len(queries_BQD)
        joined_MTD = torch.cat([queries_BQD.repeat_interleave(per_query, 0), passages_MPD[:, 1:]], 1)
        queries_MQ = features["queries"]["attention_mask"].repeat_interleave(per_query, 0)
        mask_MT = torch.cat([queries_MQ, features["passages"]["attention_mask"][:, 1:]], 1)
        last_MTD = self._run(joined_MTD, mask_MT, slice(self.settings.split, None))
        return self.head(last_MTD[:, 0]).view(-1, per_query)  # type: ignore[no-any-return]
