"""Transformer kernel model (TK; Hofstätter et al., arXiv 2002.01854): word vectors, two layers, eleven kernels."""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Features, Student
from cyclealign.errors import DistillError
from cyclealign.files import numbered_lines

WEIGHTS, VOCABULARY = "model.safetensors", "vocabulary.json"
WORD = re.compile(r"\w+")
PADDING, UNKNOWN = 0, 1
MAX_WORDS = 400_000
LAYERS, HEADS, FEED_FORWARD = 2, 10, 300
PASSAGE_START = 500  # first position of a passage, so that queries and passages have different positions
CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
WIDTH = 0.1
MIN_SUM = 1e-10  # lower bound before the logarithm


class KernelStudent(Student):
    """Counts matches of contextual word vectors by kernels; the score is a sum of logarithms over query words."""

    def __init__(self, settings: StudentSettings, words: Sequence[str], size: int) -> None:
        super().__init__(settings)
        self.words = list(words)
        self.numbers = {word: number for number, word in enumerate(self.words, UNKNOWN + 1)}
        self.embedding = nn.Embedding(len(self.words) + UNKNOWN + 1, size, padding_idx=PADDING)
        layer = nn.TransformerEncoderLayer(size, heads_for(size), FEED_FORWARD, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.mix = nn.Parameter(torch.tensor(0.5))
        self.alpha_K = nn.Parameter(torch.ones(len(CENTRES)))
        self.sum = nn.Linear(len(CENTRES), 1, bias=False)
        nn.init.uniform_(self.sum.weight, -0.014, 0.014)  # as in the authors' code
        positions = PASSAGE_START + settings.passage_tokens
        self.register_buffer("positions_TD", sinusoids(max(positions, settings.query_tokens), size), persistent=False)
        self.register_buffer("centres_K", torch.tensor(CENTRES), persistent=False)

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        counts = Counter(word for text in texts for word in words_of(text))
        if settings.embeddings is None:
            return cls(settings, [word for word, _ in counts.most_common(MAX_WORDS)], settings.embedding_size)
        vectors = read_vectors(Path(settings.embeddings), counts)
        student = cls(settings, list(vectors), len(next(iter(vectors.values()))))
        with torch.no_grad():
            student.embedding.weight[UNKNOWN + 1 :] = torch.tensor(list(vectors.values()))
        return student

    @classmethod
    def load(cls, settings: StudentSettings, folder: Path) -> Self:
        words = json.loads((folder / VOCABULARY).read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
        student = cls(settings, words, weights["embedding.weight"].shape[1])
        student.load_state_dict(weights)
        return student

    def save(self, folder: Path) -> None:
        (folder / VOCABULARY).write_text(json.dumps(self.words, ensure_ascii=False), encoding="utf-8")
        save_file({name: weights.contiguous() for name, weights in self.state_dict().items()}, folder / WEIGHTS)

    def rate_groups(self, rate: float, kernel_rate: float) -> list[dict[str, Any]]:
        """Return parameters by learning rate; that of the kernels is higher, as in the authors' settings."""
        kernels = [self.alpha_K, self.sum.weight]
        others = [weights for weights in self.parameters() if not any(weights is kernel for kernel in kernels)]
        return [{"params": others, "lr": rate}, {"params": kernels, "lr": kernel_rate}]

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries_BQ": self._ids(queries, self.settings.query_tokens),
            "passages_MP": self._ids(passages, self.settings.passage_tokens),
        }

    def _ids(self, texts: Sequence[str], max_words: int) -> Tensor:
        """Return word ids, padded; a text without words becomes one unknown word."""
        rows = [[self.numbers.get(word, UNKNOWN) for word in words_of(text)][:max_words] or [UNKNOWN] for text in texts]
        ids_BT = torch.full((len(rows), max(map(len, rows))), PADDING)
        for number, row in enumerate(rows):
            ids_BT[number, : len(row)] = torch.tensor(row)
        return ids_BT

    def forward(self, features: Features) -> Tensor:
        queries_BQ, passages_MP = features["queries_BQ"], features["passages_MP"]
        per_query = len(passages_MP) // len(queries_BQ)
        queries_MQD = self.contextual(queries_BQ, 0).repeat_interleave(per_query, 0)
        passages_MPD = self.contextual(passages_MP, PASSAGE_START)
        match_MQP = cosine_similarity(queries_MQD.unsqueeze(2), passages_MPD.unsqueeze(1), dim=-1)
        known_MQ = (queries_BQ != PADDING).repeat_interleave(per_query, 0)
        return self.pooled(match_MQP, known_MQ, passages_MP != PADDING).view(-1, per_query)

    def contextual(self, ids_BT: Tensor, start: int) -> Tensor:
        """Return mix * word vector + (1 - mix) * output of the layers, shape (B, T, D)."""
        raw_BTD = self.embedding(ids_BT)
        input_BTD = raw_BTD + self.get_buffer("positions_TD")[start : start + ids_BT.shape[1]]
        output_BTD = self.layers(input_BTD, src_key_padding_mask=ids_BT == PADDING)
        return self.mix * raw_BTD + (1 - self.mix) * output_BTD

    def pooled(self, match_MQP: Tensor, queries_MQ: Tensor, passages_MP: Tensor) -> Tensor:
        """Return w . sum_q log(alpha * sum_p kernel(cosine_qp)), shape (M,); padding is masked out."""
        distance_MQPK = match_MQP.unsqueeze(-1) - self.get_buffer("centres_K")
        kernels_MQPK = torch.exp(-distance_MQPK.square() / (2 * WIDTH**2)) * passages_MP[:, None, :, None]
        soft_MQK = (kernels_MQPK.sum(2) * self.alpha_K).clamp(min=MIN_SUM).log()
        return self.sum((soft_MQK * queries_MQ.unsqueeze(-1)).sum(1)).squeeze(-1)  # type: ignore[no-any-return]


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case."""
    return WORD.findall(text.lower())


def heads_for(size: int) -> int:
    """Return ten heads as in the paper, or the largest smaller number that divides ``size``."""
    return next(count for count in range(min(HEADS, size), 0, -1) if size % count == 0)


def sinusoids(length: int, size: int) -> Tensor:
    """Return sinusoidal positions (Vaswani et al. 2017, arXiv 1706.03762), shape (length, size)."""
    steps_T1 = torch.arange(length).unsqueeze(1)
    rates_H = torch.exp(torch.arange(0, size, 2) * (-torch.log(torch.tensor(10_000.0)) / size))
    positions_TD = torch.zeros(length, size)
    positions_TD[:, 0::2] = torch.sin(steps_T1 * rates_H)
    positions_TD[:, 1::2] = torch.cos(steps_T1 * rates_H[: size // 2])
    return positions_TD


def read_vectors(path: Path, words: Collection[str]) -> dict[str, list[float]]:
    """Read vectors of some words from a text file in GloVe's format, a word and its numbers per line.

    Raises:
        DistillError: the file cannot be read, a vector is malformed or of another size than the first one, or the file
            holds none of the words.
    """
    vectors: dict[str, list[float]] = {}
    for where, line in numbered_lines(path, DistillError):
        word, *numbers = line.rstrip().split(" ")
        if word not in words:
            continue
        try:
            vectors[word] = [float(number) for number in numbers]
        except ValueError as error:
            raise DistillError(f"{where}: expected a word and its numbers ({error}).") from error
        size = len(next(iter(vectors.values())))
        if not numbers or len(numbers) != size:
            raise DistillError(f"{where}: {len(numbers)} numbers; the vectors before it have {size}.")
    if not vectors:
        raise DistillError(f"{path}: the file holds none of the passages' words.")
    return vectors
