"""Rows of an export from judged lists: rankings, preferences and SFT in TRL's forms, and Argilla's records."""

import json
import re
from collections.abc import Iterator
from statistics import fmean
from typing import Any

from cyclealign.export.judged_lists import JudgedList
from cyclealign.records import Candidate, Message, Prompt, turn_text
from cyclealign.text import storable_text

Values = dict[str, Any]


def ranking_row(ranked: JudgedList) -> Values:
    """Return a list as one row, answers best first."""
    place = {answer.id: number for number, answer in enumerate(ranked.answers)}
    return {
        "prompt": prompt_turns(ranked.prompt),
        "responses": [storable_text(answer.text) for answer in ranked.answers],
        "ranks": list(range(1, len(ranked.answers) + 1)),
        "scores": scores(ranked),
        "preferences": [
            {"better": place[pair.better], "worse": place[pair.worse], "share": pair.share, "verdicts": pair.verdicts}
            for pair in ranked.preferences
        ],
        "mean_logprobs": [answer.mean_logprob for answer in ranked.answers],
        "finish_reasons": [answer.finish_reason for answer in ranked.answers],
        "response_ids": list(place),
        **origin(ranked),
    }


def preference_rows(ranked: JudgedList, min_preference: float | None) -> Iterator[Values]:
    """Yield a row per decided pair in TRL's conversational form with an explicit prompt."""
    prompt, made_by = prompt_turns(ranked.prompt), origin(ranked)
    for pair in ranked.pairs(min_preference):
        yield {
            "prompt": prompt,
            "chosen": [answer_turn(pair.better)],
            "rejected": [answer_turn(pair.worse)],
            "share": pair.share,
            "verdicts": pair.verdicts,
            "chosen_finish_reason": pair.better.finish_reason,
            "rejected_finish_reason": pair.worse.finish_reason,
            **made_by,
        }


def sft_row(ranked: JudgedList, as_messages: bool) -> Values:
    """Return the prompt with the best answer: TRL's ``prompt`` and ``completion``, or ``messages``."""
    best = ranked.answers[0]
    prompt, completion = prompt_turns(ranked.prompt), [answer_turn(best)]
    turns = {"messages": [*prompt, *completion]} if as_messages else {"prompt": prompt, "completion": completion}
    return {**turns, "finish_reason": best.finish_reason, **origin(ranked)}


def argilla_record(ranked: JudgedList) -> Values:
    """Return a list as a record of Argilla with the ranking as a suggestion.

    The fields of the answers are in the order in which the policy wrote them, so that it tells people nothing.
    """
    written = sorted(ranked.answers, key=lambda answer: (answer.position, answer.id))
    names = {answer.id: f"response-{number}" for number, answer in enumerate(written, 1)}
    turns = [{"role": turn["role"], "content": storable_text(turn_text(turn))} for turn in ranked.prompt.messages]
    agent = "human" if ranked.by_person else re.sub(r"[^A-Za-z0-9_:./ -]", "-", ", ".join(ranked.judges))[:200]
    suggestion = {
        "value": [names[answer.id] for answer in ranked.answers],
        "agent": agent,
        "type": "human" if ranked.by_person else "model",
    }
    return {
        "id": f"{ranked.round.experiment}-{ranked.round.number}-{ranked.prompt.id}",
        "fields": {"prompt": turns, **{names[answer.id]: storable_text(answer.text) for answer in written}},
        "suggestions": {"ranking": suggestion},
        "metadata": {name: value for name, value in origin(ranked).items() if value is not None},
    }


def origin(ranked: JudgedList) -> Values:
    """Return the columns that tell how the list was made."""
    agreement = ranked.agreement
    reported = sorted({ranker.returned_model for ranker in ranked.rankers if ranker.returned_model})
    return {
        "experiment": ranked.round.experiment,
        "round": ranked.round.number,
        "round_verdict": ranked.round_verdict,
        "prompt_id": ranked.prompt.id,
        "ranked_by": "human" if ranked.by_person else "judge",
        "judge": ", ".join(ranked.judges),
        "judge_reported": ", ".join(reported) or None,
        "template": ", ".join(ranked.template_versions),
        "method": ranked.config.judge.method,
        "base_model": ranked.round.plan.base_model,
        "adapter": ranked.answers[0].adapter_id,
        "steadiness": ranked.ranking.steadiness,
        "tau": agreement.tau if agreement else None,
        "agreed": agreement.lcs_length if agreement else None,
        "chance": agreement.chance if agreement else None,
    }


def scores(ranked: JudgedList) -> list[float] | None:
    """Return per answer the mean share of verdicts that rank it above another answer; None without preferences."""
    shares: dict[str, list[float]] = {answer.id: [] for answer in ranked.answers}
    for pair in ranked.preferences:
        shares[pair.better].append(pair.share)
        shares[pair.worse].append(1 - pair.share)
    return [fmean(each) for each in shares.values()] if all(shares.values()) else None


def prompt_turns(prompt: Prompt) -> list[Values]:
    """Return the turns of a prompt; the arguments of tool calls as JSON text, as OpenAI's form has them.

    Objects with different keys would not fit into one column of a table.
    """
    return [_turn(turn) for turn in prompt.messages]


def _turn(turn: Message) -> Values:
    values: Values = {"role": turn["role"], "content": storable_text(turn["content"])}
    if calls := turn.get("tool_calls"):
        values["tool_calls"] = [
            {
                **{name: call[name] for name in ("type", "id") if name in call},
                "function": {
                    "name": call["function"]["name"],
                    "arguments": json.dumps(call["function"]["arguments"], ensure_ascii=False),
                },
            }
            for call in calls
        ]
    if "tool_call_id" in turn:
        values["tool_call_id"] = turn["tool_call_id"]
    if "name" in turn:
        values["name"] = turn["name"]
    return values


def answer_turn(answer: Candidate) -> Values:
    """Return an answer as a turn of the assistant."""
    return {"role": "assistant", "content": storable_text(answer.text)}
