"""The scores in the demo world, round by round: its policy, its judge, and the gold quality, which is only reported."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.agreement_tables import ScoredList, Values
from cyclealign.config import ExperimentConfig, checked, load_config
from cyclealign.demo.world.dataset import quality
from cyclealign.loop.align import align
from cyclealign.loop.judge_requests import rankable
from cyclealign.loop.score import answer_sums, without_question
from cyclealign.loop.session import RoundSession, open_session
from cyclealign.policy import Policy
from cyclealign.ranking import scores
from cyclealign.records import Candidate, Prompt, Round

CONFIG = Path(__file__).parents[1] / "flows" / "configs" / "demo.toml"


def demo_lists(home: Path, rounds: int) -> Mapping[int, tuple[list[ScoredList], list[ScoredList]]]:
    """Return the scored lists of each round: with gold quality, and with the judge's places, as reference.

    Runs the demo's experiment in a home of its own first; a second call goes on from there.
    """
    os.environ["CYCLEALIGN_HOME"] = str(home)
    os.environ.pop("CYCLEALIGN_DATABASE_URL", None)
    # Every round is kept, so that the implicit reward is measured from the second one on.
    given = {
        **load_config(CONFIG).model_dump(),
        "rounds": rounds,
        "until": rounds,
        "templates": str(CONFIG.parents[2] / "prompts"),
    }
    config = checked({**given, "acceptance": {"min_win_rate": 0.0}}, "benchmark")
    align(config)
    with open_session(config) as session:
        return {number: _of_round(session, config, number) for number in range(1, rounds + 1)}


def _of_round(
    session: RoundSession, config: ExperimentConfig, number: int
) -> tuple[list[ScoredList], list[ScoredList]]:
    round_ = session.store.rounds.get(config.experiment, number)
    lists = rankable(session, round_)
    measured = _scores(session, round_, lists)
    verdicts = session.store.rankings.by_prompt(round_.id, "judge")
    text = {prompt.id: prompt.text for prompt in round_.plan.prompts}
    by_gold, by_judge = [], []
    for prompt_id, row in lists.items():
        lengths = {answer.id: answer.answer_tokens for answer in row}
        gold = {answer.id: quality(text[prompt_id], answer.text) for answer in row}
        if len(set(gold.values())) > 1:
            by_gold.append(ScoredList(gold, lengths, measured[prompt_id]))
        if verdict := verdicts.get(prompt_id):
            places = {item: float(-place) for place, item in enumerate(verdict.order)}
            by_judge.append(ScoredList(places, lengths, measured[prompt_id]))
    return by_gold, by_judge


def _scores(
    session: RoundSession, round_: Round, lists: Mapping[str, Sequence[Candidate]]
) -> dict[str, dict[str, Values]]:
    prompts = {prompt.id: prompt for prompt in round_.plan.prompts}
    session.use(round_.parent)
    nothing = {each: _sums(session.policy, without_question(prompts[each]), row) for each, row in lists.items()}
    session.use(None)
    base = {each: _sums(session.policy, prompts[each], row) for each, row in lists.items()}
    measured = {each: _of_list(row, nothing[each]) for each, row in lists.items()}
    if round_.parent is not None:
        for each, row in lists.items():
            measured[each] |= _implicit(row, base[each])
    return measured


def _sums(policy: Policy, prompt: Prompt, answers: Sequence[Candidate]) -> Values:
    return answer_sums(policy, prompt, answers)


def _of_list(row: Sequence[Candidate], nothing: Values) -> dict[str, Values]:
    sums = {answer.id: answer.answer_logprob_sum for answer in row}
    return all_scores(sums, {answer.id: answer.answer_tokens for answer in row}, nothing=nothing)


def _implicit(row: Sequence[Candidate], base: Values) -> dict[str, Values]:
    sums = {answer.id: answer.answer_logprob_sum for answer in row}
    return implicit_scores(sums, {answer.id: answer.answer_tokens for answer in row}, base)


def all_scores(
    sums: Values, tokens: Mapping[str, int], lengths: Mapping[str, int] | None = None, nothing: Values | None = None
) -> dict[str, Values]:
    """Return the scores from log-prob sums, by name.

    Args:
        tokens: number of tokens that the sums cover.
        lengths: of the whole answers; None: ``tokens``.
        nothing: log-prob sums without the question, if they were measured.
    """
    measured: dict[str, Values] = {
        "length": {item: float(count) for item, count in (lengths or tokens).items()},
        "mean_logprob": {item: scores.mean_logprob(value, tokens[item]) for item, value in sums.items()},
        "sum_logprob": sums,
    }
    if nothing is not None:
        measured["pmi"] = {item: scores.pmi(value, nothing[item]) for item, value in sums.items()}
        measured["pmi per token"] = {item: value / max(tokens[item], 1) for item, value in measured["pmi"].items()}
    return measured


def implicit_scores(sums: Values, tokens: Mapping[str, int], base: Values) -> dict[str, Values]:
    """Return the implicit reward, and the same per token."""
    reward = {item: scores.implicit_reward(value, base[item]) for item, value in sums.items()}
    return {
        "implicit_reward": reward,
        "implicit_reward per token": {item: value / max(tokens[item], 1) for item, value in reward.items()},
    }
