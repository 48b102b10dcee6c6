"""The questions of `cyclealign doctor --ask`: one list to the judge and one prompt to the policy."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cyclealign.chat_api.client import request_parameters
from cyclealign.chat_api.rate_limits import ConcurrencyLimiter
from cyclealign.chat_api.scheduler import CallLimits, CallScheduler
from cyclealign.config import ExperimentConfig
from cyclealign.errors import CycleAlignError
from cyclealign.judge.demonstrations import select
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_demonstrations, load_template
from cyclealign.judge.verdicts import ParsedReply, ask_with_repair
from cyclealign.loop.plan import DEMONSTRATIONS_FILE
from cyclealign.loop.ports import Ports
from cyclealign.loop.preflight.connection import direct_connection
from cyclealign.loop.preflight.finding import Finding, missing, note
from cyclealign.loop.preflight.policy import EXAMPLE, drawn_prompts
from cyclealign.loop.session import open_session
from cyclealign.policy import Answer
from cyclealign.records import CallOutcome, Demonstration, Reply
from cyclealign.store import Store

JUDGE, POLICY = "judge's answer", "policy's answer"
MAX_SHOWN = 500  # characters of a reply that cannot be read
QUESTION = "How do I boil an egg?"
# Best first. Their order is known, so that a judge that ranks them otherwise stands out.
ANSWERS = (
    "Put it into boiling water for eight minutes, then cool it in cold water so that it peels easily.",
    "Boil it for some minutes.",
    "I do not know.",
)


def ask_judge(config: ExperimentConfig, store: Store, ports: Ports) -> Iterator[Finding]:
    """Send the judge one list with a known order, as a round would, and report its verdict.

    The replies are stored nowhere and charged to no round.
    """
    outcomes: list[CallOutcome] = []
    try:
        parsed = asyncio.run(question(config, store, ports.api_key(config.judge), outcomes))
    except CycleAlignError as error:
        yield missing(JUDGE, str(error))
        return
    for _, problem in parsed.problems:
        yield note(JUDGE, problem)
    replies = [outcome.reply for outcome in outcomes if outcome.reply is not None]
    figures = cost_summary(replies, sum(outcome.requests for outcome in outcomes))
    if parsed.verdict is None:
        raw = replies[-1].text[:MAX_SHOWN] if replies else ""
        yield missing(JUDGE, f"no readable verdict ({figures}). Its last reply: {raw!r}")
    else:
        yield verdict_finding(parsed, figures)


async def question(config: ExperimentConfig, store: Store, api_key: str, outcomes: list[CallOutcome]) -> ParsedReply:
    """Send the list, and at most one further request if the reply cannot be read; append each outcome."""
    judge, folder = config.judge, Path(config.templates)
    template = load_template(folder, "rank")
    spec = PromptSpec(template, judge.model, request_parameters(judge), config.seed, judge.reasons)
    task = RankingTask(spec, "health", "ask", QUESTION, dict(enumerate_ids(ANSWERS)), shown_demonstrations(config))
    limits = CallLimits(ConcurrencyLimiter(1), retries=1, backoff_seconds=judge.backoff_seconds, max_busy_seconds=30.0)

    async def record(outcome: CallOutcome) -> None:
        outcomes.append(outcome)

    async with direct_connection(config, store, api_key) as complete:
        ask = CallScheduler(complete, limits, lambda call: None, record)
        return await ask_with_repair(ask, template, task.call(0))


def cost_summary(replies: Sequence[Reply], requests: int) -> str:
    """Return requests, tokens, cost and seconds as text."""
    tokens = sum(reply.prompt_tokens + reply.completion_tokens for reply in replies)
    usd, seconds = sum(reply.cost_usd for reply in replies), sum(reply.seconds for reply in replies)
    return f"{requests} request{'' if requests == 1 else 's'}, {tokens:,} tokens, {usd:.6f} USD, {seconds:.1f} s"


def enumerate_ids(answers: Sequence[str]) -> list[tuple[str, str]]:
    """Return the answers with ids, which are their places in the known order."""
    return [(str(place), text) for place, text in enumerate(answers, 1)]


def shown_demonstrations(config: ExperimentConfig) -> Sequence[Demonstration]:
    """Return the written demonstrations that a round would show."""
    settings = config.demonstrations
    pool = load_demonstrations(Path(config.templates) / DEMONSTRATIONS_FILE)
    return select(pool, QUESTION, settings.static, settings.dynamic, settings.selection)


def verdict_finding(parsed: ParsedReply, figures: str) -> Finding:
    """Return the verdict in words, as a note if it is not the known order."""
    assert parsed.verdict is not None
    ranked = " > ".join(" = ".join(shortened(ANSWERS[int(item) - 1]) for item in tier) for tier in parsed.verdict)
    as_known = parsed.verdict == tuple((str(place),) for place in range(1, len(ANSWERS) + 1))
    words = f"it ranks {ranked} ({figures})"
    reasons = "".join(f" {item}: {reason}" for item, reason in parsed.reasons)
    if as_known:
        return Finding(JUDGE, f"{words}, as expected.{reasons}")
    return note(JUDGE, f"{words}; expected was the order of length. Look at the template.{reasons}")


def shortened(text: str) -> str:
    """Return the beginning of an answer, quoted."""
    return f"'{text if len(text) <= 24 else text[:23] + '…'}'"


def ask_policy(config: ExperimentConfig, store: Store) -> Iterator[Finding]:
    """Load the policy and report its answer to one prompt of the set."""
    prompt = next(iter(drawn_prompts(config, store)), EXAMPLE)
    started = time.monotonic()
    try:
        with open_session(config) as session:
            session.policy.use(None)
            loaded = time.monotonic()
            ((answer,),) = session.policy.answer([prompt], 1, config.seed)
            tokens = len(session.policy.prompt_ids(prompt))
    except CycleAlignError as error:
        yield missing(POLICY, str(error))
        return
    yield answer_finding(answer, prompt.text, tokens, loaded - started, time.monotonic() - loaded)


def answer_finding(answer: Answer, question: str, prompt_tokens: int, loading: float, seconds: float) -> Finding:
    """Return an answer in words, as a note if it is empty or was cut."""
    words = (
        f"to {question[:80]!r} ({prompt_tokens:,} tokens): {answer.text[:300]!r} ({len(answer.token_ids)} tokens in "
        f"{seconds:.1f} s, loaded in {loading:.1f} s)"
    )
    if answer.finish_reason == "length":
        return note(POLICY, f"{words}; cut at policy.max_new_tokens. Raise it if answers are longer.")
    if not answer.text.strip():
        thought = ": the thought was never ended" if answer.thought else ""
        return note(POLICY, f"{words}; the answer is empty{thought}.")
    return Finding(POLICY, words)
