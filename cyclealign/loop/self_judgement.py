"""Self-judgement: the policy is asked for the best answer by the judge's own template, without demonstrations.

A reply to the template names the labels from best to worst. The score of an answer is the log-prob of its label as the
first of them, given that the reply begins with a label of the list. The list is shown in as many orders as it has
answers, each the one before moved on by one place under the same labels: so every answer has every place and label
once, and a bias that a place or label adds to the log-prob is the same for all answers.
"""

import random
import string
from collections.abc import Callable, Mapping, Sequence

from cyclealign.errors import PolicyError
from cyclealign.judge.adversarial import sanitized
from cyclealign.judge.requests import draw_fence, shown_question
from cyclealign.judge.templates import LabelledAnswer, rank_messages
from cyclealign.loop.session import RoundSession
from cyclealign.policy import Policy
from cyclealign.ranking import scores
from cyclealign.records import Candidate, Messages, Prompt, Round, Template, seed_from

# The beginning of a reply: the next characters are the label of the best answer.
REPLY_BEGINS = '{"ranking": ["'
LABELS = string.ascii_uppercase  # one token each in common vocabularies; a list has at most 16 answers


def rank_template(round_: Round) -> Template:
    """Return the version of the judge's template that the round uses."""
    return next(version for version in round_.plan.templates if version.name == "rank")


def self_judgement_kind(round_: Round) -> str:
    """Return the kind under which the log-probs are stored: they depend on the template."""
    return f"self_judgement {rank_template(round_).hash[:12]}"


def self_judgement(
    session: RoundSession, round_: Round
) -> Callable[[Prompt, Sequence[Candidate]], Mapping[str, float]]:
    """Return a measure of a prompt's answers: the mean log-prob of their labels, by candidate id."""
    template = rank_template(round_)

    def measure(prompt: Prompt, answers: Sequence[Candidate]) -> Mapping[str, float]:
        texts = {answer.id: answer.text for answer in answers}
        return label_scores(session.policy, template, prompt, texts, seed_from(round_.plan.seed, "self-judgement"))

    return measure


def label_scores(
    policy: Policy, template: Template, prompt: Prompt, texts: Mapping[str, str], seed: int
) -> dict[str, float]:
    """Return the mean log-prob of each answer's label as the first of the reply, in nats.

    Args:
        texts: the answers by id.
        seed: of the first order and the marks around the answers.

    Raises:
        PolicyError: the request does not fit the policy's context.
    """
    orders = rotations(random.Random(seed_from(seed, prompt.id)).sample(sorted(texts), len(texts)))
    labels = [policy.text_ids(label) for label in LABELS[: len(texts)]]
    by_order = []
    for order in orders:
        messages = request(template, prompt, [texts[item] for item in order], seed)
        begun = (*policy.prompt_ids(Prompt.of(messages)), *policy.text_ids(REPLY_BEGINS))
        require_room(policy, len(begun) + max(map(len, labels)), len(labels))
        sums = policy.logprob_sums(Prompt(prompt.id, messages, begun), labels)
        by_order.append(dict(zip(order, scores.label_logprobs(sums), strict=True)))
    return scores.mean_over_orders(by_order)


def rotations(items: Sequence[str]) -> list[list[str]]:
    """Return the orders that move all items on by 0, 1, 2 ... places: in each place every item stands once."""
    return [[*items[start:], *items[:start]] for start in range(len(items))]


def request(template: Template, prompt: Prompt, texts: Sequence[str], seed: int) -> Messages:
    """Return the judge's template for one list, its answers labelled A, B, C ... in the order given."""
    question = shown_question(prompt.text, prompt.turns)
    answers = [LabelledAnswer(label, sanitized(text)) for label, text in zip(LABELS, texts, strict=False)]
    shown = [*question.texts, *(answer.text for answer in answers)]
    fence = draw_fence(shown, random.Random(seed_from(seed, "fence", prompt.id)))
    return rank_messages(template, question, answers, fence, (), "")


def require_room(policy: Policy, tokens: int, answers: int) -> None:
    """Raise PolicyError unless a request of this many tokens fits the policy's context."""
    if tokens > policy.context_tokens:
        raise PolicyError(
            f'agreement.score = "self_judgement" shows the policy all {answers} answers to a prompt in one request, '
            f"which takes {tokens:,} tokens here; the model's context is {policy.context_tokens:,}. Set another score "
            "and rerun: the answers and the judge's rankings are kept."
        )
