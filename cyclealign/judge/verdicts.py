"""One request and its reply: the parsed verdict, after at most one repair request."""

from dataclasses import dataclass, field

from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import UnreadableReply
from cyclealign.judge.reply_parser import read_ranking, read_reasons
from cyclealign.judge.requests import repair_call
from cyclealign.records import JudgeCall, Reply, Template, Tiers

Reasons = tuple[tuple[str, str], ...]
FAILED = "The call failed."


@dataclass(frozen=True)
class ParsedReply:
    """The result of one request.

    ``verdict`` is None if the call failed or no reply could be parsed. ``problems`` are (key of the call, problem with
    its reply), including replies that the repair corrected; ``reasons`` are (item id, the judge's reason).
    """

    verdict: Tiers | None
    problems: tuple[tuple[str, str], ...] = ()
    reasons: Reasons = field(default=())


def parse_verdict(call: JudgeCall, reply: Reply) -> Tiers:
    """Return the item ids in tiers, best first, matched by the labels in the request.

    Raises:
        UnreadableReply: the reply is not a ranking of exactly those labels.
    """
    item_of = dict(call.shown)
    return tuple(tuple(item_of[label] for label in tier) for tier in read_ranking(reply.text, list(item_of)))


def parse_reasons(call: JudgeCall, reply: Reply) -> Reasons:
    """Return the judge's reasons by item id."""
    item_of = dict(call.shown)
    return tuple((item_of[label], reason) for label, reason in read_reasons(reply.text, list(item_of)).items())


async def ask_with_repair(ask_judge: AskJudge, template: Template, call: JudgeCall) -> ParsedReply:
    """Send the call; if its reply cannot be parsed, send one repair request that names the problem. Never guess."""
    problems: list[tuple[str, str]] = []
    for attempt in range(2):
        reply = await ask_judge(call)
        if reply is None:
            return ParsedReply(None, (*problems, (call.key, FAILED)))
        try:
            return ParsedReply(parse_verdict(call, reply), tuple(problems), parse_reasons(call, reply))
        except UnreadableReply as error:
            problems.append((call.key, str(error)))
            if attempt == 0:
                call = repair_call(template, call, str(error))
    return ParsedReply(None, tuple(problems))
