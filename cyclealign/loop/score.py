"""The policy's scores of its own answers, by which it ranks them.

Log-probs that generation returned are used as they are. Further ones are stored under their kind as soon as a prompt's
are complete, so that a resumed run computes only what is missing.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cyclealign.config import ScoreName
from cyclealign.loop.concurrency import WorkSignal
from cyclealign.loop.judge_requests import rankable
from cyclealign.loop.self_judgement import self_judgement, self_judgement_kind
from cyclealign.loop.session import RoundSession
from cyclealign.policy import Policy
from cyclealign.progress import report_progress
from cyclealign.ranking import scores
from cyclealign.ranking.agreement import rank_by_score
from cyclealign.records import Candidate, Message, Prompt, Ranking, Round

logger = logging.getLogger(__name__)
NOTE = "score"
# Kinds of log-probs, as they are stored.
WITHOUT_QUESTION, UNDER_BASE = "without_question", "under_base"

Lists = Mapping[str, Sequence[Candidate]]  # by prompt id
Measure = Callable[[Prompt, Sequence[Candidate]], Mapping[str, float]]  # log-probs by candidate id
Measured = Callable[[str, Measure, bool], Mapping[str, float]]  # of all answers of some lists


@dataclass(frozen=True)
class PolicyScores:
    """Scores of a round's candidates by id, their name, and the slope in length that was taken off (None: none)."""

    name: ScoreName
    values: Mapping[str, float]
    length_slope: float | None

    def ranking(self, prompt_id: str, answers: Sequence[Candidate]) -> Ranking:
        """Return the policy's ranking of the answers to one prompt."""
        values = {answer.id: self.values[answer.id] for answer in answers}
        order = rank_by_score(values)
        ordered = tuple(values[each] for each in order)
        return Ranking(prompt_id, "policy", order, score=self.name, scores=ordered, length_slope=self.length_slope)


def score_name(session: RoundSession, round_: Round) -> ScoreName:
    """Return the score of this round: the one of the settings, except where it says nothing.

    Without training the implicit reward of every answer is 0, so the first round ranks by the mean log-prob.
    """
    name = session.config.agreement.score
    return "mean_logprob" if name == "implicit_reward" and round_.parent is None else name


def needs_passes(session: RoundSession, round_: Round) -> bool:
    """Return whether the round's score takes log-probs that generation does not return."""
    return score_name(session, round_) not in ("mean_logprob", "sum_logprob")


def score(session: RoundSession, round_: Round, signal: WorkSignal) -> str:
    """Compute the log-probs that the score needs while the judge ranks; return the score's name.

    Raises:
        PolicyError: a request to the policy does not fit its context.
        OtherSideFailed: judging failed; the log-probs so far are stored.
    """
    policy_scores(session, round_, rankable(session, round_), signal.raise_if_stopped)
    return score_name(session, round_)


def policy_scores(
    session: RoundSession, round_: Round, lists: Lists, check: Callable[[], None] = lambda: None
) -> PolicyScores:
    """Return the scores of all answers in the lists, computing log-probs that are missing, and note how it was done.

    Args:
        lists: all lists of the round that are ranked: the slope in length is that of them together.
        check: called between two prompts.
    """
    name = score_name(session, round_)

    def measure(kind: str, each: Measure, base: bool) -> dict[str, float]:
        return measured(session, round_, kind, lists, each, check, base)

    values = raw_scores(session, round_, name, lists, measure)
    slope = None
    if session.config.agreement.length_control:
        pairs = [[(values[answer.id], answer.answer_tokens) for answer in row] for row in lists.values()]
        slope = scores.length_slope(pairs)
        values = {
            answer.id: scores.length_controlled(values[answer.id], answer.answer_tokens, slope)
            for row in lists.values()
            for answer in row
        }
    note_score(session, round_, name, slope)
    return PolicyScores(name, values, slope)


def raw_scores(
    session: RoundSession, round_: Round, name: ScoreName, lists: Lists, measured: Measured
) -> dict[str, float]:
    """Return the scores by candidate id, without length control.

    Args:
        measured: returns log-probs of all answers by kind and `Measure`, under the base model if its last argument is
            True.
    """
    answers = [answer for row in lists.values() for answer in row]
    if name == "mean_logprob":
        return {answer.id: answer.mean_logprob for answer in answers}
    if name == "sum_logprob":
        return {answer.id: answer.answer_logprob_sum for answer in answers}
    if name == "self_judgement":
        return dict(measured(self_judgement_kind(round_), self_judgement(session, round_), False))
    if name == "pmi":
        other = measured(WITHOUT_QUESTION, sums_given(session, without_question), False)
        return {answer.id: scores.pmi(answer.answer_logprob_sum, other[answer.id]) for answer in answers}
    base = measured(UNDER_BASE, sums_given(session, lambda prompt: prompt), True)
    return {answer.id: scores.implicit_reward(answer.answer_logprob_sum, base[answer.id]) for answer in answers}


def measured(
    session: RoundSession,
    round_: Round,
    kind: str,
    lists: Lists,
    measure: Measure,
    check: Callable[[], None],
    base: bool = False,
) -> dict[str, float]:
    """Return the log-probs of this kind of all answers in the lists: the stored ones, and those missing, which are
    computed and stored a prompt at a time.

    Args:
        base: under the base model in place of the round's policy.
    """
    stored = session.store.logprobs.of_round(round_.id, kind)
    prompts = {prompt.id: prompt for prompt in round_.plan.prompts}
    missing = [prompt_id for prompt_id, row in lists.items() if any(answer.id not in stored for answer in row)]
    if missing:
        session.use(None if base else round_.parent)
    for done, prompt_id in enumerate(missing):
        report_progress("score answers", done, len(missing))
        check()
        values = measure(prompts[prompt_id], lists[prompt_id])
        session.store.logprobs.add(round_.id, kind, values)
        stored.update(values)
    if missing:
        report_progress("score answers", len(missing), len(missing))
    return stored


def sums_given(session: RoundSession, context: Callable[[Prompt], Prompt]) -> Measure:
    """Return a measure: the log-prob of each answer, given its thought, after another prompt than its own."""
    return lambda prompt, answers: answer_sums(session.policy, context(prompt), answers)


def answer_sums(policy: Policy, prompt: Prompt, answers: Sequence[Candidate]) -> dict[str, float]:
    """Return the log-prob of each answer after this prompt and its thought, in nats; 0.0 of an empty one."""
    sums = dict.fromkeys((answer.id for answer in answers), 0.0)
    start = tuple(policy.prompt_ids(prompt))
    plain = [answer for answer in answers if answer.answer_tokens and not answer.thought_tokens]
    groups = [(start, plain)] if plain else []
    for answer in answers:
        if answer.answer_tokens and answer.thought_tokens:
            groups.append((start + answer.token_ids[: answer.thought_tokens], [answer]))
    for ids, row in groups:
        tokens = [answer.token_ids[answer.thought_tokens :] for answer in row]
        values = policy.logprob_sums(Prompt(prompt.id, prompt.messages, ids), tokens)
        sums.update({answer.id: value for answer, value in zip(row, values, strict=True)})
    return sums


def without_question(prompt: Prompt) -> Prompt:
    """Return the prompt without its question: the system message stays, one empty turn of the user replaces the other
    turns. The policy renders it in its chat template, with its system prompt.
    """
    system = tuple(turn for turn in prompt.messages[:1] if turn["role"] == "system")
    return Prompt.of((*system, Message(role="user", content="")))


def note_score(session: RoundSession, round_: Round, name: ScoreName, slope: float | None) -> None:
    """Note on the round how the policy ranked, unless it was by the mean log-prob alone, as ever."""
    wanted = session.config.agreement.score
    words = f"the policy ranks by {name}"
    if slope is not None:
        words += f" without its slope of {slope:+.4g} per token"
    if name != wanted:
        words += f": {wanted} of an untrained policy is 0 for every answer"
    if (wanted, slope) != ("mean_logprob", None):
        session.store.notes.record(round_.id, NOTE, words)
        logger.info("Round %d of '%s': %s.", round_.number, round_.experiment, words)
