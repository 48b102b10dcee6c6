"""One request and its reply: the parsed verdict, after at most one repair request."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from cyclealign.chat_api.attempts import longer_limit
from cyclealign.chat_api.scheduler import AskJudge
from cyclealign.errors import UnreadableReply
from cyclealign.judge.reply_parser import read_ranking, read_reasons
from cyclealign.judge.requests import repair_call
from cyclealign.records import JudgeCall, Reply, Template, Tiers

Reasons = tuple[tuple[str, str], ...]
CUT_OFF = "The reply was cut off: raise judge.max_tokens; the thoughts of a reasoning judge count."
FAILED = "The call failed:"


@dataclass(frozen=True)
class ParsedReply:
    """The result of one request.

    ``verdict`` is None if the call failed or no reply could be parsed. ``problems`` are (key of the call, problem with
    its reply), including replies that the repair corrected; ``reasons`` are (item id, the judge's reason).
    """

    verdict: Tiers | None
    problems: tuple[tuple[str, str], ...] = ()
    reasons: Reasons = field(default=())

    def renamed(self, names: Mapping[str, str]) -> "ParsedReply":
        """Return the reply with other item ids."""
        verdict = None if self.verdict is None else tuple(tuple(names[item] for item in tier) for tier in self.verdict)
        return ParsedReply(verdict, self.problems, tuple((names[item], reason) for item, reason in self.reasons))


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
    """Send the call; if its reply cannot be parsed, send one further request. Never guess.

    That is a repair request, which names the problem, or the same request with a larger limit for its reply, if the
    reply was cut off.
    """
    problems: list[tuple[str, str]] = []
    for attempt in range(2):
        reply = await ask_judge(call)
        if not isinstance(reply, Reply):
            return ParsedReply(None, (*problems, (call.key, f"{FAILED} {reply.error}")))
        try:
            return ParsedReply(parse_verdict(call, reply), tuple(problems), parse_reasons(call, reply))
        except UnreadableReply as error:
            problems.append((call.key, f"{CUT_OFF} {error}" if reply.cut else str(error)))
            if attempt == 0:
                call = longer_call(call) if reply.cut else repair_call(template, call, str(error))
    return ParsedReply(None, tuple(problems))


def longer_call(call: JudgeCall) -> JudgeCall:
    """Return the same request with a larger limit for its reply."""
    parameters = {**dict(call.parameters), "max_tokens": longer_limit(call)}
    return replace(call, parameters=tuple(parameters.items()))
