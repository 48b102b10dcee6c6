"""Walk one case through two rounds, and check that every label says what the judge said."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from cyclealign import prompt_import
from cyclealign.config import ExperimentConfig, checked
from cyclealign.judge.adversarial import sanitized
from cyclealign.loop.align import align
from cyclealign.records import Candidate
from cyclealign.store import Store
from tests.first_hour import prompt_files
from tests.support.batch_server import BatchServer
from tests.support.chat_models import KINDS, make_chat_model
from tests.support.local_judge import LocalJudge, answers_in, most_words_first
from tests.support.paths import ROOT
from tests.support.stub_judges import STUB_JUDGES, stub_judge

ROUNDS = 2
BATCH = "batch"
JUDGES = (*STUB_JUDGES, BATCH)
# Judges that leave some prompts without a verdict, by design.
UNEVEN = ("refusing",)


@dataclass(frozen=True)
class Case:
    """A kind of model, of judge and of prompt file."""

    model: str = "llama"
    judge: str = "plain"
    prompts: str = "prompt"

    def __str__(self) -> str:
        return f"{self.model}, {self.judge} judge, {self.prompts}"


def models_alone() -> list[Case]:
    """Return each kind of model, with the plainest judge and prompt file."""
    return [Case(model=kind) for kind in KINDS]


def others() -> list[Case]:
    """Return each kind of judge and of prompt file but the plainest, with the plainest of the others."""
    judges = [Case(judge=kind) for kind in JUDGES if kind != "plain"]
    forms = [Case(prompts=form) for form in prompt_files.FORMS if form != "prompt"]
    return [*judges, *forms]


def all_cases() -> list[Case]:
    """Return every kind of model with every kind of judge and of prompt file, in an order drawn once."""
    rows = [Case(*kinds) for kinds in product(KINDS, JUDGES, prompt_files.FORMS)]
    return random.Random(0).sample(rows, len(rows))


@dataclass(frozen=True)
class Walked:
    """What came of a case: the verdict of each round, the prompts with a ranking, the requests, the seconds."""

    case: Case
    verdicts: tuple[str, ...]
    ranked: int
    requests: int
    seconds: float

    def __str__(self) -> str:
        verdicts = ", ".join(self.verdicts)
        return f"{self.case}: {verdicts}; {self.ranked} lists, {self.requests} requests, {self.seconds:.1f} s"


def walk(case: Case, folder: Path, models: Path, advance: Callable[[ExperimentConfig], object] = align) -> Walked:
    """Run two rounds and check them.

    Args:
        folder: for the prompt file. The environment must name a home of its own, and hold the judge's key.
        models: folder with the models by kind; a missing one is made.
        advance: runs the experiment to its end, in one run or in several.

    Raises:
        CycleAlignError: a step failed.
        AssertionError: a label is wrong, or a round is missing.
    """
    started = time.monotonic()
    model = models / case.model
    if not model.exists():
        make_chat_model(case.model, model)
    source = prompt_import.read_source(str(prompt_files.write(case.prompts, folder)), 0.3, hold_out_labelled=False)
    with Store.open() as store:
        store.prompts.add_source("mine", source.prompts, source.labelled, case.prompts)
    with open_judge(case.judge) as (judge, url):
        advance(config(case, model, url))
        requests = sum(judge.asked.values())
    with Store.open() as store:
        verdicts, ranked = check(store, judge, case)
    return Walked(case, verdicts, ranked, requests, time.monotonic() - started)


@contextmanager
def open_judge(behaviour: str) -> Iterator[tuple[LocalJudge, str]]:
    """Yield the stub judge and its address; ``batch`` is the plain one behind a batch API."""
    if behaviour == BATCH:
        with BatchServer() as server:
            yield server.judge, server.url
    else:
        with stub_judge(behaviour) as judge:
            yield judge, judge.url


def config(case: Case, model: Path, url: str) -> ExperimentConfig:
    """Return a small experiment: the defaults, but for sizes and times."""
    judge: dict[str, Any] = {"model": "gpt-stub", "base_url": url, "api_key_variable": "TEST_JUDGE_KEY"}
    if case.judge == BATCH:
        judge |= {"delivery": "batch", "batch_window_seconds": 0.05, "batch_poll_seconds": 0.02}
    settings: dict[str, Any] = {
        "experiment": "mine",
        "rounds": ROUNDS,
        "templates": str(ROOT / "prompts"),
        "prompts": {"set_name": "mine", "per_round": 4, "held_out": 2},
        "policy": {"model": str(model), "answers": 3, "max_new_tokens": 24, "max_truncated": 1.0},
        "judge": {**judge, "backoff_seconds": 0.01},
        "health": {"lists": 0} if case.judge in UNEVEN else {},
        "training": {"process": "same"},
        # Every round is accepted, so that the second one goes on from the first one's adapter.
        "acceptance": {"min_win_rate": 0.0, "min_readable": 0.0 if case.judge in UNEVEN else 0.8},
    }
    return checked(settings, "first hour")


def check(store: Store, judge: LocalJudge, case: Case) -> tuple[tuple[str, ...], int]:
    """Check both rounds; return their verdicts and the number of ranked lists."""
    rounds = store.experiments.rounds("mine")
    verdicts = tuple(row["verdict"] for row in rounds)
    assert len(verdicts) == ROUNDS
    assert None not in verdicts, f"unfinished: {verdicts}"
    ranked = sum(check_labels(store, store.rounds.get("mine", row["number"]).id, case) for row in rounds)
    answers = [answer for body in judge.bodies for answer in answers_in(body["messages"][-1]["content"])]
    assert answers
    assert not any(text.lstrip().startswith("<think>") for _, text in answers), "a thought was shown to the judge"
    assert "a-very-secret-key" not in json.dumps(judge.bodies)
    return verdicts, ranked


def check_labels(store: Store, round_id: int, case: Case) -> int:
    """Check that each ranking is the judge's rule applied to the texts; return the number of rankings."""
    candidates = store.candidates.by_prompt(round_id)
    rankings = store.rankings.by_prompt(round_id, "judge")
    for prompt_id, ranking in rankings.items():
        assert ranking.order == by_rule(candidates[prompt_id], ranking.order), f"wrong label: {ranking}"
    assert rankings, "no list was ranked"
    unjudged = store.rankings.unjudged(round_id)
    assert not unjudged or case.judge in UNEVEN, f"unjudged: {unjudged}"
    return len(rankings)


def by_rule(candidates: Sequence[Candidate], ranked: Sequence[str]) -> tuple[str, ...]:
    """Return the ranked candidates in the order of `most_words_first`, which the stub judges follow."""
    text: Mapping[str, str] = {candidate.id: candidate.text for candidate in candidates}
    order = json.loads(most_words_first([(item, sanitized(text[item])) for item in ranked]))["ranking"]
    return tuple(order)
