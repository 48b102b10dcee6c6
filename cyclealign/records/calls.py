"""Requests to the judge, their outcomes and their cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from cyclealign.records.content import content_id
from cyclealign.records.texts import Messages

CallPurpose = Literal["rank", "win_rate", "win_rate_base", "accuracy", "health", "rejudge"]
SIMULATED_MODEL = "simulated-judge"  # the only model name under which the simulated judge answers


@dataclass(frozen=True)
class JudgeCall:
    """One complete request to the judge.

    ``subject_id`` names the prompt or list that it is about. ``shown`` holds (label, item id) pairs in the order in
    which the judge saw them; verdicts are matched by label. ``parameters`` are JSON values.

    The rest is the form in which the question is sent. It is not part of the key: endpoints that take another form get
    the same question.

    Args:
        reply_format: JSON schema for the reply.
        token_limit: limit of the reply instead of the parameter ``max_tokens``, if that has proved too small.
        refused: names of parameters that the endpoint does not take.
        attempt: number of replies that this request has had before, usable or not.
    """

    purpose: CallPurpose
    subject_id: str
    model: str
    template_hash: str
    messages: Messages
    shown: tuple[tuple[str, str], ...]
    parameters: tuple[tuple[str, Any], ...] = ()
    reply_format: Mapping[str, object] | None = None
    token_limit: int | None = None
    refused: frozenset[str] = frozenset()
    attempt: int = 0

    @cached_property
    def key(self) -> str:
        """Return the hash of model, messages and parameters: requests with the same key are sent once."""
        return content_id("call", self.model, list(self.messages), list(self.parameters))


@dataclass(frozen=True)
class Reply:
    """A chat endpoint's reply to one call, with its tokens, cost in US dollars and latency.

    ``model`` is the model that the endpoint reports. ``cached_prompt_tokens`` is the part of ``prompt_tokens`` that the
    provider read from its prompt cache. Tokens and cost are sums over all paid attempts; ``estimated_tokens`` and
    ``estimated_usd`` are the part of them that no provider confirmed.

    Args:
        counted: whether the provider's token counts are there and can be believed.
        finish_reason: the provider's word for the end of the reply; "length": it was cut off.
    """

    text: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    seconds: float
    cached_prompt_tokens: int = 0
    estimated_tokens: int = 0
    estimated_usd: float = 0.0
    counted: bool = True
    finish_reason: str = ""

    @property
    def cut(self) -> bool:
        """Return whether the reply reached the limit of its tokens."""
        return self.finish_reason == "length"


@dataclass(frozen=True)
class FailedCall:
    """The result of a call that failed, instead of a `Reply`."""

    error: str


@dataclass(frozen=True)
class CallOutcome:
    """The outcome of a call: a reply (``error`` None), or an error, with an unusable reply if one was paid for.

    ``requests`` counts how often it was sent; 0: the reply of another experiment was reused.
    """

    call: JudgeCall
    reply: Reply | None
    error: str | None = None
    requests: int = 1


@dataclass(frozen=True)
class Batch:
    """Calls that were, or were about to be, submitted to the provider's batch API together.

    ``token`` is our name for the batch, ``batch_id`` the provider's (None: not known to have arrived), ``keys`` are the
    keys of its calls.
    """

    token: str
    batch_id: str | None
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Spending:
    """Cost of judge calls: requests sent, tokens of prompts and replies, US dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def __add__(self, other: "Spending") -> "Spending":
        return Spending(self.calls + other.calls, self.tokens + other.tokens, self.usd + other.usd)

    def __sub__(self, other: "Spending") -> "Spending":
        return Spending(self.calls - other.calls, self.tokens - other.tokens, self.usd - other.usd)
