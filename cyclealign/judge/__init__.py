"""Candidates -> the judge's ranking. No failed call and no unreadable reply ever becomes one."""

from cyclealign.judge.methods import Judgement, RankingMethod, calls_wanted, rank
from cyclealign.judge.requests import PromptSpec, RankingTask, draw_fence, draw_labels, rank_call, show
from cyclealign.judge.verdicts import ParsedReply, hear, verdict

__all__ = [
    "ParsedReply",
    "PromptSpec",
    "Judgement",
    "RankingTask",
    "RankingMethod",
    "calls_wanted",
    "draw_fence",
    "draw_labels",
    "hear",
    "rank",
    "rank_call",
    "show",
    "verdict",
]
