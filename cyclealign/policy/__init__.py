"""The white-box model: one interface, whatever serves it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from cyclealign.errors import WrongWeights
from cyclealign.records import Adapter, Candidate, Prompt, content_id


@dataclass(frozen=True)
class Answer:
    """What a policy returns for one sample; the fields are those of `Candidate`.

    ``adapter_hash`` is the content hash of the adapter that answered; None is the base model.
    """

    text: str
    token_ids: tuple[int, ...]
    logprob_sum: float
    finish_reason: Literal["stop", "length"]
    adapter_hash: str | None = None


class Policy(Protocol):
    """A language model that answers, and tells how likely it finds an answer."""

    @property
    def context_tokens(self) -> int:
        """Longest prompt plus answer, in tokens."""
        ...

    @property
    def manner(self) -> dict[str, object]:
        """What answers, for the history: engine and version, and how well its weights were attested."""
        ...

    def prompt_ids(self, prompt: Prompt) -> list[int]:
        """The prompt's token ids as the model sees them, chat template included."""
        ...

    def use(self, adapter: Adapter | None) -> None:
        """Answer and score with this adapter from now on; None is the base model."""
        ...

    def answer(self, prompts: Sequence[Prompt], count: int, seed: int) -> list[list[Answer]]:
        """``count`` samples for each prompt; the same prompts, adapter and seed give the same answers."""
        ...

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        """Sum of log P(token | prompt, tokens before) in nats for answers given as token ids."""
        ...

    def token_logprobs(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        """Log P(token | tokens before) in nats of every token but the first, for each row of token ids."""
        ...

    def rest(self) -> None:
        """Training is about to start: give the accelerator's memory up until something is asked again."""
        ...

    def close(self) -> None:
        """Give the memory back."""
        ...


def candidate_id(prompt: Prompt, origin: Sequence[object], adapter: Adapter | None, position: int) -> str:
    """The id of one sample: a hash of all that made it, so that the same sample is never drawn twice.

    Args:
        origin: what sets it apart from others of the same adapter and prompt (experiment, round, seed ...).
    """
    maker = adapter.content_hash if adapter else "base"
    return content_id("candidate", list(origin), maker, prompt.id, position)


def as_candidates(
    prompt: Prompt, answers: Sequence[Answer], origin: Sequence[object], adapter: Adapter | None, first: int = 0
) -> list[Candidate]:
    """Samples as rows of the history, at the positions from ``first`` on.

    Raises:
        WrongWeights: another adapter than ``adapter`` answered.
    """
    expected = adapter.content_hash if adapter else None
    if any(answer.adapter_hash != expected for answer in answers):
        raise WrongWeights("Answers came from another adapter than the round's. They were thrown away; run again.")
    return [
        Candidate(
            id=candidate_id(prompt, origin, adapter, position),
            prompt_id=prompt.id,
            position=position,
            text=answer.text,
            token_ids=answer.token_ids,
            logprob_sum=answer.logprob_sum,
            finish_reason=answer.finish_reason,
            adapter_id=adapter.id if adapter else None,
        )
        for position, answer in enumerate(answers, first)
    ]


def distinct(candidates_of_prompt: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that can be ranked: empty answers left out, equal texts collapsed to the first of them."""
    first_of_text: dict[str, Candidate] = {}
    for candidate in candidates_of_prompt:
        if candidate.text.strip():
            first_of_text.setdefault(candidate.text.strip(), candidate)
    return list(first_of_text.values())
