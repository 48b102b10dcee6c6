"""Five real judges, replayed: 24,696 recorded verdicts on LLMBar's pairs in both orders (Zeng et al., 2310.07641).

The judge replies from the records; everything else is the code that a round runs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from cyclealign.files import json_lines
from cyclealign.judge.methods import Judgement, RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_template
from cyclealign.judge.verdicts import ParsedReply
from cyclealign.records import JudgeCall, Reply

TEMPLATE = load_template(Path(__file__).parents[1] / "prompts", "rank")
FIRST, SECOND = "output_1", "output_2"


@dataclass(frozen=True)
class Recorded:
    """One judge's winners on one pair with one prompt, by the position of the first output (0 or 1)."""

    pair: str
    label: str
    judge: str
    prompt: str
    winners: tuple[str | None, str | None]

    async def ask_judge(self, call: JudgeCall) -> Reply:
        """Return the recorded verdict for the order in the call; prose if the judge gave none."""
        label_of = {item: label for label, item in call.shown}
        winner = self.winners[[item for _, item in call.shown].index(FIRST)]
        if winner is None:
            return Reply("I cannot choose.", self.judge, 0, 0, 0.0, 0.0)
        other = SECOND if winner == FIRST else FIRST
        return Reply(json.dumps({"ranking": [label_of[winner], label_of[other]]}), self.judge, 0, 0, 0.0, 0.0)


def read(folder: Path) -> list[Recorded]:
    """Load the records of `judge_verdicts.jsonl.gz`."""
    name = {"1": FIRST, "2": SECOND, None: None}
    rows = [row for _, row in json_lines(folder / "judge_verdicts.jsonl.gz")]
    return [
        Recorded(
            f"{row['subset']}/{row['idx']}",
            name[str(row["label"])] or "",
            row["judge"],
            row["prompt"],
            (name[row["winner_orig_order"]], name[row["winner_swapped_order"]]),
        )
        for row in rows
    ]


Judged = tuple[Recorded, Judgement]  # a record and the judgement from both of its orders


async def measure(records: Sequence[Recorded]) -> list[dict[str, Any]]:
    """Measure each judge with one order, both orders, and both orders of all its prompts; then all judges together."""
    judged = [(record, await _judge(record)) for record in records]
    by_judge = sorted(judged, key=lambda row: row[0].judge)
    rows = [_of_judge(judge, list(group)) for judge, group in groupby(by_judge, key=lambda row: row[0].judge)]
    return [*rows, {"judge": "all together", "consensus": _figures(_pooled(judged))}]


def _of_judge(judge: str, judged: Sequence[Judged]) -> dict[str, Any]:
    complete = [record.winners for record, _ in judged if None not in record.winners]
    return {
        "judge": judge,
        "records": len(judged),
        "flips": fmean(first != second for first, second in complete),
        "one_order": _figures((record.label, _part(both.replies[:1])) for record, both in judged),
        "both_orders": _figures((record.label, both) for record, both in judged),
        "consensus": _figures(_pooled(judged)),
    }


async def _judge(record: Recorded) -> Judgement:
    spec = PromptSpec(TEMPLATE, record.judge, (), seed=1)
    task = RankingTask(spec, "accuracy", record.pair, "Which?", {FIRST: "the first", SECOND: "the second"})
    return await rank(record.ask_judge, task, RankingMethod("listwise", num_orders=2))


def _pooled(judged: Sequence[Judged]) -> Iterator[tuple[str, Judgement]]:
    """Yield (label, judgement) of each pair, pooling the verdicts of several prompts or judges."""
    for _, group in groupby(sorted(judged, key=lambda row: row[0].pair), key=lambda row: row[0].pair):
        together = list(group)
        yield together[0][0].label, _part(tuple(reply for _, both in together for reply in both.replies))


def _part(replies: Sequence[ParsedReply]) -> Judgement:
    return Judgement((FIRST, SECOND), tuple(replies), None)


def _figures(judgements: Iterable[tuple[str, Judgement]]) -> Mapping[str, float]:
    """Return the accuracy (an undecided pair counts half), the decided share, and the accuracy on decided pairs.

    Pairs without a readable verdict are left out and counted as ``unjudged``.
    """
    scores, unjudged = [], 0
    for label, judgement in judgements:
        ranking = judgement.ranking("pair")
        if ranking is None:
            unjudged += 1
            continue
        (preference,) = ranking.preferences
        scores.append(0.5 if preference.share == 0.5 else float(preference.better == label))
    decided = [score for score in scores if score != 0.5]
    return {
        "accuracy": fmean(scores),
        "decided": len(decided) / len(scores),
        "accuracy_on_decided": fmean(decided),
        "unjudged": unjudged,
        "pairs": len(scores),
    }
