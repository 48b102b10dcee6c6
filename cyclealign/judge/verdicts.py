"""One request and what came of it: the verdict in the reply, one repair request where it cannot be read, or none."""

from dataclasses import dataclass, field

from cyclealign.chat_api.scheduler import Ask
from cyclealign.errors import UnreadableReply
from cyclealign.judge.reply_parser import read_ranking, read_reasons
from cyclealign.judge.requests import repair_call
from cyclealign.records import JudgeCall, Reply, Template, Tiers

Reasons = tuple[tuple[str, str], ...]
FAILED = "The call failed."


@dataclass(frozen=True)
class ParsedReply:
    """What came of one request.

    ``verdict`` is None where there is none. ``problems`` are (key of the call, what is wrong with its reply), also of
    a reply that was put right by the repair; ``reasons`` are (item id, what the judge said of it).
    """

    verdict: Tiers | None
    problems: tuple[tuple[str, str], ...] = ()
    reasons: Reasons = field(default=())


def verdict(call: JudgeCall, reply: Reply) -> Tiers:
    """The item ids in tiers, best first, matched by the labels that the judge was given.

    Raises:
        UnreadableReply: the reply is not a ranking of exactly those labels.
    """
    item_of = dict(call.shown)
    return tuple(tuple(item_of[label] for label in tier) for tier in read_ranking(reply.text, list(item_of)))


def reasons(call: JudgeCall, reply: Reply) -> Reasons:
    """What the judge said of single answers, by item id."""
    item_of = dict(call.shown)
    return tuple((item_of[label], said) for label, said in read_reasons(reply.text, list(item_of)).items())


async def hear(asker: Ask, template: Template, call: JudgeCall) -> ParsedReply:
    """Ask, and where the reply cannot be read ask once more, saying what is wrong. Never a guess, never a default."""
    problems: list[tuple[str, str]] = []
    for attempt in range(2):
        reply = await asker(call)
        if reply is None:
            return ParsedReply(None, (*problems, (call.key, FAILED)))
        try:
            return ParsedReply(verdict(call, reply), tuple(problems), reasons(call, reply))
        except UnreadableReply as error:
            problems.append((call.key, str(error)))
            if attempt == 0:
                call = repair_call(template, call, str(error))
    return ParsedReply(None, tuple(problems))
