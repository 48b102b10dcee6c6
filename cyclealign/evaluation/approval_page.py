"""The approval of a round in words, for the history and the pages."""

from collections.abc import Mapping
from typing import Any

CHOICES = {"accept": "accepted", "reject": "rejected", "stop": "stopped"}


def approval_lines(approval: Mapping[str, Any] | None) -> list[str]:
    """Return what the evidence suggested, and each decision with who and when; none if nobody was asked.

    Args:
        approval: of a round in the history.
    """
    if approval is None:
        return []
    suggested = f"the evidence suggests: {approval['verdict'].replace('_', ' ')}, {approval['reason']}"
    return [
        suggested,
        *([] if approval["decisions"] else ["nobody has decided yet"]),
        *map(_line, approval["decisions"]),
    ]


def _line(decision: Mapping[str, Any]) -> str:
    when = decision["decided_at"][:16].replace("T", " ")
    comment = f": {decision['comment']}" if decision["comment"] else ""
    return f"{CHOICES[decision['choice']]} by {decision['decided_by']}, {when} UTC{comment}"
