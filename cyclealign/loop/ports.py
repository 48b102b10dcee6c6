"""The loop's ports: everything that the steps need from their surroundings, with plain defaults.

`flows.prefect_ports` fills them from Prefect.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TypeAlias, TypeVar
from uuid import uuid4

from cyclealign.chat_api.rate_limits import LocalRateLimiter, NoRateLimit, RateLimiter
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import BadConfig
from cyclealign.evaluation.round_report import plot_rounds
from cyclealign.files import report_file
from cyclealign.loop.backends import backend_of
from cyclealign.records import Review, Round
from cyclealign.store import Store

T = TypeVar("T")

# Collects human rankings until the deadline: (store, the reviews still waiting, deadline).
ReviewForm = Callable[[Store, Callable[[], Sequence[Review]], datetime], None]

# Events of an experiment besides the verdicts of its rounds and its stop, each reported once.
EventKind: TypeAlias = Literal["budget-reached", "judge-untrusted", "prompts-low"]


class RunStep(Protocol):
    """Run one step of a round and return its result."""

    def __call__(self, name: str, round_number: int, step: Callable[[], T]) -> T: ...


def nonce() -> str:
    """Return a run id that is never used again."""
    return str(uuid4())


def unnamed_run() -> str:
    """Return the name of a run that nobody has named."""
    return "align"


def check_nothing(config: ExperimentConfig, ports: "Ports") -> None:
    """Let the steps of the round find what is missing."""


def report_nothing(experiment: str, reason: str) -> None:
    """Leave the report to the error that the run raises."""


def report_no_event(kind: EventKind, round_: Round, reason: str) -> None:
    """Leave the event to the log and the error of the run."""


def key_from_environment(judge: JudgeSettings) -> str:
    """Return the judge's API key.

    Raises:
        BadConfig: the environment variable is not set.
    """
    if not backend_of(judge).needs_key:
        return "no-key"  # never send a real key to a judge that asks for none
    if key := os.environ.get(judge.api_key_variable):
        return key
    raise BadConfig(
        f"No key for the judge: set the environment variable {judge.api_key_variable}, or name a Prefect Secret block "
        "in judge.api_key_block. For a local server without a key, set the variable to any text."
    )


def local_rate_limiter(judge: JudgeSettings) -> RateLimiter:
    """Return the limiter of the settings' requests and tokens per minute, for this process alone."""
    if judge.requests_per_minute is None and judge.tokens_per_minute is None:
        return NoRateLimit()
    return LocalRateLimiter(judge.requests_per_minute, judge.tokens_per_minute)


def no_form() -> ReviewForm | None:
    """Return None: human rankings come from `cyclealign review` only."""
    return None


def call_step(name: str, round_number: int, step: Callable[[], T]) -> T:
    """Call the step."""
    return step()


def save_plot(store: Store, round_: Round) -> Path:
    """Plot the experiment's rounds to ``reports/EXPERIMENT.svg`` in the home folder and return the path."""
    path = report_file(f"{round_.experiment}.svg")
    path.write_bytes(plot_rounds(store.experiments.rounds(round_.experiment), f"Experiment {round_.experiment}"))
    return path


@dataclass(frozen=True)
class Ports:
    """The surroundings of the loop. The defaults need only the environment and the home folder.

    Args:
        run_id: identifies the run; a retried run must have the id that it had before.
        run_name: names the run for people.
        api_key: the judge's API key; called outside an event loop, when the first call is about to be sent.
        rate_limiter: requests and tokens per minute.
        review_form: a form for human rankings, or None if nobody could see one now.
        run_step: runs each step of a round.
        check: raises an error if a run with this config cannot succeed; called once the run holds its experiment.
        publish: reports on the experiment after each round.
        report_stop: tells that the experiment has reached a limit of the section `stop`: (experiment, reason).
        report_event: tells of an event: (kind, the round in which it happened, reason).
    """

    run_id: Callable[[], str] = nonce
    run_name: Callable[[], str] = unnamed_run
    api_key: Callable[[JudgeSettings], str] = key_from_environment
    rate_limiter: Callable[[JudgeSettings], RateLimiter] = local_rate_limiter
    review_form: Callable[[], ReviewForm | None] = no_form
    run_step: RunStep = call_step
    check: Callable[[ExperimentConfig, "Ports"], object] = check_nothing
    publish: Callable[[Store, Round], object] = save_plot
    report_stop: Callable[[str, str], object] = report_nothing
    report_event: Callable[[EventKind, Round, str], object] = report_no_event
