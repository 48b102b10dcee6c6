"""Requests to the judge, what became of them, and what they have cost."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from cyclealign.records.content import content_id
from cyclealign.records.texts import Messages

CallPurpose = Literal["rank", "win_rate", "accuracy", "health", "rejudge"]


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
