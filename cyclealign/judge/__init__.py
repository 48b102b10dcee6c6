"""Candidates -> the judge's ranking. No failed call and no unreadable reply ever becomes one."""

from cyclealign.judge.methods import Judgement, Way, calls_wanted, rank
from cyclealign.judge.requests import Manner, Question, draw_fence, draw_labels, rank_call, show
from cyclealign.judge.verdicts import Heard, hear, verdict

__all__ = [
    "Heard",
    "Manner",
    "Judgement",
    "Question",
    "Way",
    "calls_wanted",
    "draw_fence",
    "draw_labels",
    "hear",
    "rank",
    "rank_call",
    "show",
    "verdict",
]
