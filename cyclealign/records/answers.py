"""What the policy answers, and the orders that answers are given."""

from dataclasses import dataclass
from typing import Literal

RankedBy = Literal["policy", "judge", "agreement"]
# A ranking with ties: best first, what stands in one tier is tied.
Tiers = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Candidate:
    """One answer of the policy.

    ``logprob_sum`` is the sum over ``token_ids`` of log P(token | prompt, tokens before), in nats, of the raw
    distribution (before temperature or truncation), as generation saw it. ``token_ids`` includes the end token
    when ``finish_reason`` is ``"stop"``.
    """

    id: str
    prompt_id: str
    position: int
    text: str
    token_ids: tuple[int, ...]
    logprob_sum: float
    finish_reason: Literal["stop", "length"]
    adapter_id: str | None

    @property
    def mean_logprob(self) -> float:
        """Length-normalised log-prob in nats per token (RRHF eq. 1: divided by the answer's own length)."""
        return self.logprob_sum / max(len(self.token_ids), 1)


@dataclass(frozen=True)
class Preference:
    """What the verdicts said of one pair: ``share`` of them, in [0.5, 1], placed ``better`` above ``worse``.

    A tie is half a verdict for either. 0.5 is an undecided pair; which of the two is called better then means nothing.
    """

    better: str
    worse: str
    share: float
    verdicts: int


@dataclass(frozen=True)
class Ranking:
    """An order of one prompt's candidates (ids, best first), and who gave it.

    ``steadiness`` in [0, 1] says how far repeated verdicts agreed: (1 + mean Kendall tau between orders) / 2; 1.0 for
    a ranker that was asked once. ``preferences`` are the judge's, one for each pair that a verdict compared: together
    a partial order, of which ``order`` is one reading. ``reasons`` are (candidate id, what the judge said of it).
    """

    prompt_id: str
    by: RankedBy
    order: tuple[str, ...]
    steadiness: float = 1.0
    preferences: tuple[Preference, ...] = ()
    reasons: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How far policy and judge agree on one prompt.

    ``order`` holds the candidates (ids, best first) of their longest common subsequence, ``lcs_length`` of ``answers``
    long; ``chance`` is the probability that two random orders of as many answers reach that length; ``tau`` is
    Kendall's, in [-1, 1]; ``weight`` is the prompt's weight in training.
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
    """A candidate whose text looks as if it were meant to sway the judge: what kind of sign, and the words."""

    candidate_id: str
    kind: str
    excerpt: str
