"""Check the judge: its price, its key, and one short request to it."""

import asyncio
import os
import time
from collections.abc import Iterator

from cyclealign.chat_api.client import request_parameters
from cyclealign.chat_api.model_list import listed_models
from cyclealign.config import ExperimentConfig, JudgeSettings
from cyclealign.errors import BadConfig, CallForbidden, CycleAlignError, JudgeBusy, JudgeCallFailed, JudgeFaltered
from cyclealign.loop.backends import backend_of, known_price
from cyclealign.loop.ports import Ports
from cyclealign.loop.preflight.connection import direct_connection
from cyclealign.loop.preflight.finding import Finding, missing, note
from cyclealign.records import SIMULATED_MODEL, JudgeCall, Message, Reply
from cyclealign.store import Store
from cyclealign.text import did_you_mean

SUBJECT = "judge"
ATTEMPTS = 2
MAX_FIRST_ATTEMPT_SECONDS = 10.0  # after a longer first attempt there is no second one
PING = (Message(role="user", content="Reply with the word OK and nothing else."),)


def judge_findings(config: ExperimentConfig, store: Store, ports: Ports) -> Iterator[Finding]:
    """Check price and key, and send one short request.

    The request has the model and the parameters of the round's requests: an endpoint that refuses them, an unknown
    model and an empty account show before anything is generated, which a list of models would not tell. It costs a few
    tokens, which are charged to no round.
    """
    judge = config.judge
    try:
        known_price(config)
    except BadConfig as error:
        yield missing("price", str(error))
        return
    if not backend_of(judge).needs_key:
        yield without_key(judge)
    elif judge.model == SIMULATED_MODEL and judge.base_url is None:
        yield missing(SUBJECT, f"judge.kind = '{judge.kind}' needs the name of a model. Set judge.model.")
    elif key_only_in_block(judge) and ports.api_key is Ports().api_key:
        yield Finding(SUBJECT, f"{described(judge)}; checked when the run has started")
    else:
        yield asked(config, store, ports)


def without_key(judge: JudgeSettings) -> Finding:
    """Return the finding about a judge that takes no key, which is a local one."""
    if judge.delivery == "batch":
        return missing(SUBJECT, f"judge.kind = '{judge.kind}' has no batch API. Set judge.delivery = 'direct'.")
    return Finding(SUBJECT, f"{judge.kind}, needs no key")


def key_only_in_block(judge: JudgeSettings) -> bool:
    """Return whether the key is in a Prefect Secret block, which only the run itself can read."""
    return bool(judge.api_key_block) and not os.environ.get(judge.api_key_variable)


def described(judge: JudgeSettings) -> str:
    """Return model, address and the place of the key."""
    key = f"the Secret block '{judge.api_key_block}'" if key_only_in_block(judge) else judge.api_key_variable
    return f"{judge.model} at {backend_of(judge).location}, key in {key}"


def asked(config: ExperimentConfig, store: Store, ports: Ports) -> Finding:
    """Return the finding of one short request."""
    try:
        key = ports.api_key(config.judge)
        return asyncio.run(ping(config, store, key))
    except CycleAlignError as error:
        return missing(SUBJECT, str(error))


async def ping(config: ExperimentConfig, store: Store, api_key: str) -> Finding:
    """Send the short request, twice if the first attempt falters.

    Raises:
        BadConfig, JudgeUnavailable, JudgeCallFailed: no request can succeed.
    """
    judge, started = config.judge, time.monotonic()
    call = JudgeCall("health", "ping", judge.model, "", PING, (), request_parameters(judge))
    async with direct_connection(config, store, api_key, schema=False) as complete:
        for attempt in range(ATTEMPTS):
            try:
                reply = await complete(call)
            except JudgeBusy as error:
                return note(SUBJECT, f"{described(judge)}: busy now; the run waits and tries again. {error}")
            except JudgeFaltered as error:
                last = attempt == ATTEMPTS - 1 or time.monotonic() - started > MAX_FIRST_ATTEMPT_SECONDS
                if error.unreachable and last:
                    raise
                if error.paid or last:
                    return note(SUBJECT, f"{described(judge)}: {error} The run tries again.")
                await asyncio.sleep(judge.backoff_seconds)
            except CallForbidden as error:
                raise BadConfig(f"{error} {error.advice}{await suggestion(judge, api_key)}") from error
            except JudgeCallFailed as error:
                if error.paid is None:
                    raise
                return note(SUBJECT, f"{described(judge)}: it answers, but: {error}")
            else:
                return answered(judge, reply)
    raise AssertionError("the last attempt returns or raises")


def answered(judge: JudgeSettings, reply: Reply) -> Finding:
    """Return the finding of a reply."""
    tokens = reply.prompt_tokens + reply.completion_tokens
    return Finding(
        SUBJECT, f"{described(judge)}; answered in {reply.seconds:.1f} s ({tokens} tokens, {reply.cost_usd:.6f} USD)"
    )


async def suggestion(judge: JudgeSettings, api_key: str) -> str:
    """Return the listed model most like the configured one; empty if the endpoint lists that one, or none like it."""
    models = await listed_models(judge, judge.base_url, api_key)
    return "" if judge.model in models else did_you_mean(judge.model, models)
