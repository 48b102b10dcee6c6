"""The nouns of the project: frozen values that every layer may pass around.

Nothing here computes a result, reads a file or imports a heavy library.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Literal, TypedDict


class Message(TypedDict):
    """One turn of a conversation, in the form that chat APIs and chat templates take."""

    role: str
    content: str


Messages = tuple[Message, ...]
Split = Literal["train", "held_out"]
RankedBy = Literal["policy", "judge", "agreement"]
# A ranking with ties: best first, what stands in one tier is tied.
Tiers = tuple[tuple[str, ...], ...]


def content_id(*parts: object) -> str:
    """Return a 24-digit hexadecimal id that is the same for the same content, on any machine.

    ``parts`` are JSON values; tuples count as lists and the order of keys does not count.
    """
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def seed_from(*parts: object) -> int:
    """Return a 63-bit seed derived from content, so that a resumed run draws what the first one drew."""
    return int(content_id(*parts)[:16], 16) >> 1


@dataclass(frozen=True)
class Prompt:
    """A conversation that waits for an answer; its id is the hash of its messages."""

    id: str
    messages: Messages

    @classmethod
    def of(cls, messages: Messages) -> "Prompt":
        return cls(content_id("prompt", list(messages)), messages)

    @property
    def text(self) -> str:
        """The conversation as one reads it: the bare text of a single turn, else one ``role: text`` block each."""
        if len(self.messages) == 1:
            return self.messages[0]["content"]
        return "\n\n".join(f"{turn['role']}: {turn['content']}" for turn in self.messages)


@dataclass(frozen=True)
class LabelledList:
    """Answers to one prompt in an order that people (or a stated gold rule) gave; best first.

    Never trained on, unless ``source`` is ``"review"``: those lists measure the judge only, and by themselves.
    """

    prompt: Prompt
    answers: tuple[str, ...]
    source: str

    @property
    def id(self) -> str:
        return content_id("labelled", self.prompt.id, list(self.answers))


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
class Demonstration:
    """A ranked example that the judge is shown; ``answers`` best first.

    ``tau`` and ``chance`` tell how far policy and judge agreed when it was promoted (static ones: 1.0 and 0.0).
    """

    id: str
    question: str
    answers: tuple[str, ...]
    kind: Literal["static", "dynamic"]
    tau: float = 1.0
    chance: float = 0.0
    promoted_round: int | None = None

    @classmethod
    def of(
        cls,
        question: str,
        answers: tuple[str, ...],
        kind: Literal["static", "dynamic"],
        tau: float = 1.0,
        chance: float = 0.0,
        promoted_round: int | None = None,
    ) -> "Demonstration":
        identity = content_id("demonstration", kind, question, list(answers))
        return cls(identity, question, answers, kind, tau, chance, promoted_round)


@dataclass(frozen=True)
class Template:
    """The text of a template file and its hash: the version that a judge call says it used."""

    name: str
    text: str

    @property
    def hash(self) -> str:
        return content_id("template", self.text)


@dataclass(frozen=True)
class Adapter:
    """What a round trained, on disk: its folder, the hash of its weights, and the adapter that it was trained from.

    A LoRA adapter, or whole weights that stand in its place: see `cyclealign.weights`.
    """

    id: str
    path: str
    content_hash: str
    parent_id: str | None


@dataclass(frozen=True)
class Reply:
    """What a chat endpoint returned for one call, with what it cost.

    ``cached_prompt_tokens`` is the part of ``prompt_tokens`` that the provider read from its prompt cache.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float
    cached_prompt_tokens: int = 0


@dataclass(frozen=True)
class Metric:
    """A number with its 95 % interval where one can be had, the count it rests on and its unit."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    count: int | None = None
    unit: str = ""


@dataclass(frozen=True)
class Flag:
    """A candidate whose text looks as if it were meant to sway the judge: what kind of sign, and the words."""

    candidate_id: str
    kind: str
    excerpt: str


Purpose = Literal["train", "held_out"]
CallPurpose = Literal["rank", "win_rate", "accuracy", "health", "rejudge"]


@dataclass(frozen=True)
class RoundPlan:
    """Everything that a round reads, fixed when it is opened: nothing it reads changes while it runs.

    ``settings`` is the experiment's configuration as JSON values; ``demonstrations`` is the pool that the judge's
    demonstrations are chosen from (static ones first).
    """

    experiment: str
    settings: dict[str, object]
    seed: int
    prompts: tuple[Prompt, ...]
    held_out: tuple[Prompt, ...]
    templates: tuple[Template, ...]
    demonstrations: tuple[Demonstration, ...]
    base_model: str


@dataclass(frozen=True)
class Round:
    """A round as the store holds it; ``parent`` is the adapter of the last accepted round (None: the base model)."""

    id: int
    experiment: str
    number: int
    plan: RoundPlan
    parent: Adapter | None


@dataclass(frozen=True)
class JudgeCall:
    """One request to the judge, whole: what it was shown, under which labels, and the hash that names the request.

    ``shown`` holds (label, item id) pairs in the order in which the judge saw them; verdicts are matched by label.
    ``reply_format`` is what the endpoint is to hold the reply to. It is how a question is put, not what is asked, and
    so no part of the key: an endpoint that takes none answers the same question.
    """

    purpose: CallPurpose
    subject_id: str
    model: str
    template_hash: str
    messages: Messages
    shown: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, float | int | str], ...] = ()
    reply_format: Mapping[str, object] | None = None

    @cached_property
    def key(self) -> str:
        """The hash of the whole request: the same key is the same question and is asked once."""
        return content_id("call", self.model, list(self.messages), list(self.parameters))


@dataclass(frozen=True)
class Outcome:
    """What became of a call: a reply (``error`` None), or a failure and why, with what was paid for in vain.

    ``requests`` is how often it was sent; 0 where the reply was there already, from another experiment.
    """

    call: JudgeCall
    reply: Reply | None
    error: str | None = None
    requests: int = 1


@dataclass(frozen=True)
class Batch:
    """Calls that were, or were about to be, handed to the provider's batch API together.

    ``token`` is our name for it, ``batch_id`` the provider's (None: not known to have arrived), ``keys`` its calls'.
    """

    token: str
    batch_id: str | None
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Spending:
    """What judge calls have cost: requests sent, tokens both ways, US dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: "Spending") -> "Spending":
        return Spending(self.calls - other.calls, self.tokens - other.tokens, self.usd - other.usd)


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
class Doubt:
    """A list worth a person's time, and why, in words that the person and the history are shown."""

    prompt_id: str
    why: str


@dataclass(frozen=True)
class Review:
    """A list of a round that people were asked to rank.

    ``answers`` maps the ids of the judged candidates to their texts; ``verdict`` holds those ids, best first, once a
    person has ranked them, and ``learnt`` says that the round was trained on it.
    """

    round_id: int
    experiment: str
    number: int
    prompt: Prompt
    answers: Mapping[str, str]
    why: str
    status: Literal["waiting", "answered", "skipped"]
    verdict: tuple[str, ...] | None
    learnt: bool
    asked_at: datetime


@dataclass(frozen=True)
class Rejudgement:
    """A stored round put to another judge, template or set of demonstrations, and how its verdicts differed.

    ``id`` is a hash of the requests; ``flips`` and ``tau`` are means over ``lists`` (flips None: no pair was decided
    both times), ``pairs`` the pairs decided both times, ``unread`` the lists without a verdict of the other judge,
    ``cost`` what its requests have cost.
    """

    id: str
    round_id: int
    model: str
    template_hash: str
    demonstrations: str
    lists: int
    unread: int
    pairs: int
    flips: Metric | None
    tau: Metric
    cost: Spending


@dataclass(frozen=True)
class LabelVersion:
    """The version (hash) of a template that made ``labels`` rankings of a round, and the folder it came from."""

    experiment: str
    number: int
    folder: str
    version: str
    labels: int
