"""Candidates of the policy, and rankings of them."""

from dataclasses import dataclass
from typing import Literal

RankedBy = Literal["policy", "judge", "agreement"]
# A ranking with ties: tiers of ids, best first; ids in one tier are tied.
Tiers = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Thought:
    """The reasoning at the beginning of a sample, which is not part of the answer.

    ``text`` includes its marks. ``tokens`` counts the sample's first token ids, and ``logprob_sum`` is theirs in nats.
    A thought that was never ended takes all tokens of its sample.
    """

    text: str
    tokens: int
    logprob_sum: float


@dataclass(frozen=True)
class Candidate:
    """One answer of the policy.

    ``position`` counts the candidates of a prompt from 0. ``logprob_sum`` is the sum over ``token_ids``, shape (T,), of
    log P(token | prompt, tokens before) in nats, under the raw distribution (before temperature and top-p), as returned
    by generation. ``token_ids`` includes the end token if ``finish_reason`` is ``"stop"``. ``adapter_id`` None: the
    base model wrote it. ``copied_from`` is the id that it had in the abandoned round from which it was taken over.
    ``thought``: the first of the tokens, if they are not part of the answer; ``text`` is without it.
    """

    id: str
    prompt_id: str
    position: int
    text: str
    token_ids: tuple[int, ...]
    logprob_sum: float
    finish_reason: Literal["stop", "length"]
    adapter_id: str | None
    copied_from: str | None = None
    thought: Thought | None = None

    @property
    def judged_as(self) -> str:
        """Return the id under which the judge is shown the answer: an answer taken over keeps its requests."""
        return self.copied_from or self.id

    @property
    def thought_tokens(self) -> int:
        """Return the number of tokens before the answer."""
        return self.thought.tokens if self.thought else 0

    @property
    def answer_tokens(self) -> int:
        """Return the number of tokens of the answer, end token included."""
        return len(self.token_ids) - self.thought_tokens

    @property
    def answer_logprob_sum(self) -> float:
        """Return the sum of log-probs over the answer's tokens alone, in nats."""
        return self.logprob_sum - (self.thought.logprob_sum if self.thought else 0.0)

    @property
    def mean_logprob(self) -> float:
        """Return the length-normalised log-prob in nats per token (RRHF, arXiv 2304.05302, eq. 1).

        Of the answer's tokens alone: a thought is part of their condition.
        """
        return self.answer_logprob_sum / max(self.answer_tokens, 1)


@dataclass(frozen=True)
class Preference:
    """The verdicts on one pair of candidates (ids): ``share`` of ``verdicts``, in [0.5, 1], rank ``better`` higher.

    A tie counts as half a verdict for either. A share of 0.5 is an undecided pair; ``better`` and ``worse`` are then
    arbitrary.
    """

    better: str
    worse: str
    share: float
    verdicts: int


@dataclass(frozen=True)
class Ranking:
    """An order of one prompt's candidates (ids, best first) by the ranker ``by``.

    ``steadiness`` in [0, 1] is the agreement of repeated verdicts: (1 + mean Kendall tau between orders) / 2; 1.0 for a
    single verdict. ``preferences`` are the judge's, one per compared pair: together a weighted tournament of which
    ``order`` is the consensus. ``reasons`` are pairs (candidate id, the judge's reason). ``score`` names the policy's
    score, ``scores`` are its values in the ranking's order, and ``length_slope`` is what its length control took off
    them per token (None: no length control).
    """

    prompt_id: str
    by: RankedBy
    order: tuple[str, ...]
    steadiness: float = 1.0
    preferences: tuple[Preference, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()
    score: str | None = None
    scores: tuple[float, ...] = ()
    length_slope: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Agreement of policy and judge on one prompt with ``answers`` candidates.

    ``order`` is the longest common subsequence of both rankings (ids, best first) and ``lcs_length`` its length;
    ``chance`` is the probability that two random rankings reach at least that length; ``tau`` is Kendall's, in [-1, 1];
    ``weight`` is the prompt's weight in training.
    """

    prompt_id: str
    order: tuple[str, ...]
    lcs_length: int
    answers: int
    chance: float
    tau: float
    weight: float = 1.0


@dataclass(frozen=True)
class Flag:
    """A sign that a candidate's text tries to manipulate the judge: its kind, and an excerpt of the text."""

    candidate_id: str
    kind: str
    excerpt: str
