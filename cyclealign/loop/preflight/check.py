"""All checks of a config, and the refusal to start a run that cannot succeed."""

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from cyclealign.config import ExperimentConfig, settings_without_effect
from cyclealign.errors import NotReady
from cyclealign.loop.plan import require_same_base_model, require_same_method
from cyclealign.loop.ports import Ports
from cyclealign.loop.preflight.engine import engine_findings
from cyclealign.loop.preflight.finding import Finding, attempt, note
from cyclealign.loop.preflight.judge import judge_findings, key_only_in_block
from cyclealign.loop.preflight.policy import policy_findings
from cyclealign.loop.preflight.prompts import prompt_findings
from cyclealign.loop.preflight.templates import check_templates
from cyclealign.loop.preflight.training import check_training
from cyclealign.loop.session import open_session
from cyclealign.loop.supply import rounds_to_run
from cyclealign.store import Store

logger = logging.getLogger(__name__)
# The config that this process has checked last: the command line checks it before Prefect starts, the flow after.
_ready: list[ExperimentConfig] = []


def require_ready(
    config: ExperimentConfig, ports: Ports | None = None, notify: Callable[[str], None] = logger.warning
) -> None:
    """Check the config before anything is generated or paid for, and report its notes.

    A run that has no round left to finish is not checked. One that only finishes an open round may find every reply
    stored, so it does not need the judge.

    Raises:
        NotReady: the run cannot succeed; the message has every finding with its remedy.
    """
    ports = ports or Ports()
    if config in _ready:
        return
    with Store.open() as store:
        findings = list(run_findings(config, store, ports))
    for finding in findings:
        if finding.level == "note":
            notify(f"{finding.subject}: {finding.message}")
    if problems := [finding for finding in findings if finding.missing]:
        lines = "\n".join(f"- {problem.subject}: {problem.message}" for problem in problems)
        raise NotReady(f"This run cannot succeed. Nothing was generated.\n{lines}")
    if not key_only_in_block(config.judge) or ports.api_key is not Ports().api_key:
        _ready[:] = [config]


def run_findings(config: ExperimentConfig, store: Store, ports: Ports) -> Iterator[Finding]:
    """Yield the findings that matter to the rounds which the run would finish."""
    rounds = rounds_to_run(store, config)
    if rounds == 0:
        return
    is_open = store.rounds.unfinished(config.experiment) is not None
    yield from examine(config, store, ports, rounds - is_open)


def examine(
    config: ExperimentConfig, store: Store, ports: Ports, new_rounds: int, thorough: bool = False
) -> Iterator[Finding]:
    """Yield the findings of every check; a failure is a finding, not an error.

    Args:
        new_rounds: number of rounds to be opened. 0: an open round is finished, and its judge may not be needed.
        thorough: also check parts that the config does not need, and import vLLM.
    """
    for sentence in settings_without_effect(config):
        yield note("settings", sentence)
    with ThreadPoolExecutor(1) as pool:  # the judge is waited for while the tokenizer is loaded
        judging = pool.submit(lambda: list(findings_of_judges(config, store, ports))) if new_rounds else None
        if new_rounds:
            yield attempt("templates", lambda: check_templates(config))
            yield from prompt_findings(config, store, new_rounds)
        yield attempt("experiment", lambda: check_experiment(config))
        yield from policy_findings(config, store)
        yield from engine_findings(config, thorough)
        yield attempt("training", lambda: check_training(config.training))
        yield from judging.result() if judging else ()


def findings_of_judges(config: ExperimentConfig, store: Store, ports: Ports) -> Iterator[Finding]:
    """Check the judge of the rankings, and that of the duels if it is another one."""
    yield from judge_findings(config, store, ports)
    if config.evaluation.judge is not None:
        yield from judge_findings(config.model_copy(update={"judge": config.examiner}), store, ports)


def check_experiment(config: ExperimentConfig) -> str:
    """Check that the experiment's rounds have this base model and method.

    Raises:
        BadConfig: it began with others.
    """
    if config.policy.model == "demo":  # its name is known once it is trained
        return f"'{config.experiment}'"
    with open_session(config) as session:
        require_same_base_model(session)
        require_same_method(session)
    return f"'{config.experiment}'"
