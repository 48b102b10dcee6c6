"""The Transformer kernel model, TK (Hofstätter et al., arXiv 2002.01854): word vectors, two layers, eleven kernels."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.students import Features, Student
from cyclealign.errors import DistillError

WEIGHTS, VOCABULARY = "model.safetensors", "vocabulary.json"
WORD = re.compile(r"\w+")
PADDING, UNKNOWN = 0, 1
MOST_WORDS = 400_000
LAYERS, HEADS, FEED_FORWARD = 2, 10, 300
PASSAGE_START = 500  # positions of a passage begin here, apart from a query's
CENTRES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, -0.1, -0.3, -0.5, -0.7, -0.9)
WIDTH = 0.1
LEAST = 1e-10


class KernelStudent(Student):
    """Matches of contextual word vectors, counted softly by kernels, summed in the logarithm per query word."""

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
        nn.init.uniform_(self.sum.weight, -0.014, 0.014)
        positions = PASSAGE_START + settings.passage_tokens
        self.register_buffer("positions_TD", sinusoids(max(positions, settings.query_tokens), size), persistent=False)
        self.register_buffer("centres_K", torch.tensor(CENTRES), persistent=False)

    @classmethod
    def build(cls, settings: StudentSettings, texts: Sequence[str]) -> Self:
        counts = Counter(word for text in texts for word in words_of(text))
        if settings.embeddings is None:
            return cls(settings, [word for word, _ in counts.most_common(MOST_WORDS)], settings.embedding_size)
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
        save_file({name: each.contiguous() for name, each in self.state_dict().items()}, folder / WEIGHTS)

    def rate_groups(self, rate: float, kernel_rate: float) -> list[dict[str, Any]]:
        """The kernels' weights learn faster than the rest, as in the authors' settings."""
        kernels = [self.alpha_K, self.sum.weight]
        others = [each for each in self.parameters() if not any(each is kernel for kernel in kernels)]
        return [{"params": others, "lr": rate}, {"params": kernels, "lr": kernel_rate}]

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries_BQ": self._ids(queries, self.settings.query_tokens),
            "passages_MP": self._ids(passages, self.settings.passage_tokens),
        }

    def _ids(self, texts: Sequence[str], longest: int) -> Tensor:
        """A text without a word is one unknown word."""
        rows = [[self.numbers.get(word, UNKNOWN) for word in words_of(text)][:longest] or [UNKNOWN] for text in texts]
        ids_BT = torch.full((len(rows), max(map(len, rows))), PADDING)
        for number, row in enumerate(rows):
            ids_BT[number, : len(row)] = torch.tensor(row)
        return ids_BT

    def forward(self, features: Features) -> Tensor:
        queries_BQ, passages_MP = features["queries_BQ"], features["passages_MP"]
        each = len(passages_MP) // len(queries_BQ)
        queries_MQD = self.contextual(queries_BQ, 0).repeat_interleave(each, 0)
        passages_MPD = self.contextual(passages_MP, PASSAGE_START)
        match_MQP = cosine_similarity(queries_MQD.unsqueeze(2), passages_MPD.unsqueeze(1), dim=-1)
        known_MQ = (queries_BQ != PADDING).repeat_interleave(each, 0)
        return self.pooled(match_MQP, known_MQ, passages_MP != PADDING).view(-1, each)

    def contextual(self, ids_BT: Tensor, start: int) -> Tensor:
        """mix * word vector + (1 - mix) * what the layers make of it, shape (B, T, D)."""
        raw_BTD = self.embedding(ids_BT)
        placed_BTD = raw_BTD + self.get_buffer("positions_TD")[start : start + ids_BT.shape[1]]
        read_BTD = self.layers(placed_BTD, src_key_padding_mask=ids_BT == PADDING)
        return self.mix * raw_BTD + (1 - self.mix) * read_BTD

    def pooled(self, match_MQP: Tensor, queries_MQ: Tensor, passages_MP: Tensor) -> Tensor:
        """Kernels of the cosines, summed over passage words, log, summed over query words, weighed; shape (M,)."""
        distance_MQPK = match_MQP.unsqueeze(-1) - self.get_buffer("centres_K")
        kernels_MQPK = torch.exp(-distance_MQPK.square() / (2 * WIDTH**2)) * passages_MP[:, None, :, None]
        soft_MQK = (kernels_MQPK.sum(2) * self.alpha_K).clamp(min=LEAST).log()
        return self.sum((soft_MQK * queries_MQ.unsqueeze(-1)).sum(1)).squeeze(-1)  # type: ignore[no-any-return]


def words_of(text: str) -> list[str]:
    """Lower-cased words."""
    return WORD.findall(text.lower())


def heads_for(size: int) -> int:
    """Ten heads as in the paper, or the most that divide a smaller vector."""
    return next(count for count in range(min(HEADS, size), 0, -1) if size % count == 0)


def sinusoids(length: int, size: int) -> Tensor:
    """Sinusoidal positions (Vaswani et al. 2017), shape (length, size)."""
    steps_T1 = torch.arange(length).unsqueeze(1)
    rates_H = torch.exp(torch.arange(0, size, 2) * (-torch.log(torch.tensor(10_000.0)) / size))
    found_TD = torch.zeros(length, size)
    found_TD[:, 0::2] = torch.sin(steps_T1 * rates_H)
    found_TD[:, 1::2] = torch.cos(steps_T1 * rates_H[: size // 2])
    return found_TD


def read_vectors(path: Path, wanted: Counter[str]) -> dict[str, list[float]]:
    """Vectors of the wanted words from a text file, a word and its numbers a line (GloVe's format).

    Raises:
        DistillError: it cannot be read, a line is no vector, sizes differ, or it holds none of the words.
    """
    found: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                word, *numbers = line.rstrip().split(" ")
                if word in wanted:
                    found[word] = [float(each) for each in numbers]
                    if len(found[word]) != len(next(iter(found.values()))) or not numbers:
                        raise ValueError(f"line {number} has {len(numbers)} numbers")
    except (OSError, ValueError) as error:
        raise DistillError(f"{path}: want a word and its numbers a line, equally many on each ({error}).") from error
    if not found:
        raise DistillError(f"{path}: holds none of the passages' words.")
    return found
