"""The attempts at one call: their number, their cost, and the limit of the next reply."""

from dataclasses import dataclass, replace

from cyclealign.errors import JudgeCallFailed, JudgeFaltered, NothingToRead
from cyclealign.records import JudgeCall, Reply

MAX_LOST = 3  # requests whose reply came too late or broke off: each one may be billed
# Limits of a reply that was cut off before its answer, in tokens; a reasoning judge's thoughts count.
LONGER, MIN_LONGER_LIMIT, MAX_LONGER_LIMIT = 4, 2048, 32_768


@dataclass
class Attempts:
    """History of one call.

    Args:
        requests: requests sent.
        faults: requests that failed, other than on a busy judge.
        replies: requests that got a reply.
        unread: replies without text.
        lost: requests that may be billed and got no whole reply.
        token_limit: limit of the next reply, if larger than the call's own; 0: none.
        sent_limit: limit of the last reply.
        busy_seconds: seconds spent waiting on a busy judge.
        wasted: cost of failed requests.
    """

    requests: int = 0
    faults: int = 0
    replies: int = 0
    unread: int = 0
    lost: int = 0
    token_limit: int = 0
    sent_limit: int = 0
    busy_seconds: float = 0.0
    wasted: Reply | None = None

    def count(self, error: JudgeCallFailed) -> None:
        """Count a failed request and its cost."""
        self.wasted = with_cost_of(self.wasted, error.paid)
        self.faults += 1
        self.replies += not (error.unpriced or (isinstance(error, JudgeFaltered) and error.unanswered))
        self.unread += isinstance(error, NothingToRead)
        self.lost += error.unpriced

    def enlarge(self, call: JudgeCall) -> bool:
        """Let the next reply be longer than the one that was cut off; return False if it was long already."""
        self.token_limit = longer_limit(call)
        return self.token_limit > self.sent_limit


def longer_limit(call: JudgeCall) -> int:
    """Return the limit, in tokens, for a second reply to a call whose first one was cut off before its answer."""
    own = int(dict(call.parameters).get("max_tokens", 0))
    return max(own, min(max(LONGER * own, MIN_LONGER_LIMIT), MAX_LONGER_LIMIT))


def with_cost_of(earlier: Reply | None, reply: Reply | None) -> Reply | None:
    """Return the reply with tokens, cost and time of an earlier attempt at the same call added."""
    if earlier is None or reply is None:
        return reply or earlier
    return replace(
        reply,
        prompt_tokens=earlier.prompt_tokens + reply.prompt_tokens,
        completion_tokens=earlier.completion_tokens + reply.completion_tokens,
        cached_prompt_tokens=earlier.cached_prompt_tokens + reply.cached_prompt_tokens,
        cost_usd=earlier.cost_usd + reply.cost_usd,
        estimated_tokens=earlier.estimated_tokens + reply.estimated_tokens,
        estimated_usd=earlier.estimated_usd + reply.estimated_usd,
        seconds=earlier.seconds + reply.seconds,
    )
