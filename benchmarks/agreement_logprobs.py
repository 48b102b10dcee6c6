"""Log-probs of given answers under a policy, kept on disk: a run that is cut off goes on from there."""

import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch

from benchmarks.judge_accuracy import List
from cyclealign.config import PolicySettings
from cyclealign.judge.templates import load_template
from cyclealign.loop.score import answer_sums, without_question
from cyclealign.loop.self_judgement import label_scores
from cyclealign.policy.transformers_policy import TransformersPolicy
from cyclealign.records import Adapter, Candidate, Message, Prompt, content_id

TEMPLATE = load_template(Path(__file__).parents[1] / "prompts", "rank")
KINDS = ("with_question", "without_question", "self_judgement")


class OutOfTime(Exception):
    """The run's minutes are over; what it has measured is stored."""


class OneTokenPolicy(TransformersPolicy):
    """Scores one-token continuations, as labels are, by a single row; the beginning shared with the row before it is
    computed once.
    """

    _shared: tuple[list[int], object] | None = None
    _last: Sequence[int] = ()

    def use(self, adapter: Adapter | None) -> None:
        self._shared, self._last = None, ()
        super().use(adapter)

    def logprob_sums(self, prompt: Prompt, answers: Sequence[Sequence[int]]) -> list[float]:
        if any(len(ids) != 1 for ids in answers):
            return super().logprob_sums(prompt, answers)
        row = self.prompt_ids(prompt)
        with self._active() as model:
            start, cache = self._cached_start(model, row)
            logits_V = model(
                input_ids=torch.tensor([row[len(start) :]]), past_key_values=cache, logits_to_keep=1
            ).logits[0, -1]
        self._last = row
        return [float(value) for value in logits_V.float().log_softmax(-1)[[ids[0] for ids in answers]]]

    def _cached_start(self, model: Callable[..., object], row: list[int]) -> tuple[list[int], object]:
        """Return a beginning of the row with its cache, which the caller may change."""
        if self._shared is None or row[: len(self._shared[0])] != self._shared[0]:
            pairs = zip(row, self._last, strict=False)
            length = next((place for place, (a, b) in enumerate(pairs) if a != b), 0)
            if length < 16:
                return [], None
            output = model(input_ids=torch.tensor([row[:length]]), use_cache=True, logits_to_keep=1)
            self._shared = row[:length], output.past_key_values  # type: ignore[attr-defined]
        start, cache = self._shared
        return start, copy.deepcopy(cache)


class Logprobs:
    """Log-probs by list, weights and kind, from the file or from the policy.

    Args:
        tokens: answers are cut after this many.
        deadline: `time.monotonic` after which nothing new is computed.
    """

    def __init__(self, model: str, tokens: int, file: Path, deadline: float) -> None:
        self._model, self._tokens, self._file, self._deadline = model, tokens, file, deadline
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        self._stored: dict[str, dict[str, float]] = dict(map(json.loads, lines))
        self._policy: OneTokenPolicy | None = None
        self._used: str | None = ""

    @property
    def policy(self) -> OneTokenPolicy:
        """Return the policy, loaded at the first use."""
        if self._policy is None:
            self._policy = OneTokenPolicy(PolicySettings(model=self._model), self._model)
        return self._policy

    def of(
        self, row: List, kind: str, adapter: Adapter | None = None, stored_only: bool = False
    ) -> Mapping[str, float]:
        """Return the log-prob of each answer of a list by id: sums over the cut answer, or those of its label.

        Raises:
            OutOfTime: it is not stored, and no time is left.
        """
        weights = adapter.content_hash if adapter else None
        key = content_id(Path(self._model).name, self._tokens, weights, kind, row.question, dict(row.answers))
        if key not in self._stored:
            if stored_only or time.monotonic() > self._deadline:
                raise OutOfTime
            if weights != self._used:
                self.policy.use(adapter)
                self._used = weights
            self._keep(key, self._measured(row, kind))
        return self._stored[key]

    def _keep(self, key: str, values: dict[str, float]) -> None:
        self._stored[key] = values
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, values]) + "\n")

    def _measured(self, row: List, kind: str) -> dict[str, float]:
        prompt = Prompt.of((Message(role="user", content=row.question),))
        answers = [candidate(self.policy, item, text, self._tokens) for item, text in row.answers.items()]
        if kind == "self_judgement":
            texts = {answer.id: answer.text for answer in answers}
            return label_scores(self.policy, TEMPLATE, prompt, texts, seed=1)
        return answer_sums(self.policy, without_question(prompt) if kind == "without_question" else prompt, answers)


def candidate(policy: TransformersPolicy, item: str, text: str, tokens: int) -> Candidate:
    """Return an answer as a candidate, cut after this many tokens."""
    ids = policy.text_ids(text)[:tokens]
    shown = text if len(ids) < tokens else str(policy._tokenizer.decode(ids))
    return Candidate(item, "prompt", 0, shown, tuple(ids), 0.0, "length", None)
