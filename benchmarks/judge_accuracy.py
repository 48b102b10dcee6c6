"""What each way to rank costs and how right it is: ``python -m benchmarks.judge_accuracy --json``.

- ``demo``: labelled lists of the demo world and the *simulated* judge at several position biases.
- ``recorded``: recorded verdicts of five real judges on LLMBar, replayed (see `benchmarks.recorded_judges`).
- ``lists``: RewardBench's best-of-16 lists scored by GPT-4 and OpenAssistant's lists ranked by people, ranked by the
  simulated judge, which knows nothing of such text.

The last two need a folder of data (``--data``); they are left out, and say so, where it is absent.
"""

import argparse
import asyncio
import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import recorded_judges
from cyclealign.demo.judge.model import Behaviour, count_tokens, judge
from cyclealign.demo.world import dataset
from cyclealign.evaluation import metrics
from cyclealign.evaluation.intervals import with_interval
from cyclealign.files import json_lines
from cyclealign.judge.methods import RankingMethod, rank
from cyclealign.judge.requests import PromptSpec, RankingTask
from cyclealign.judge.templates import load_demonstrations, load_template
from cyclealign.records import Demonstration, JudgeCall, Ranking, Reply

ROOT = Path(__file__).parents[1]
STATIC = load_demonstrations(ROOT / "prompts" / "demonstrations.jsonl")[:6]
BIASES = (0.0, 0.3, 1.0, 2.0)
WAYS = {
    "listwise, 1 order": RankingMethod("listwise", num_orders=1),
    "listwise, 2 orders": RankingMethod("listwise", num_orders=2),
    "listwise, 4 orders": RankingMethod("listwise", num_orders=4),
    "listwise, 5 orders": RankingMethod("listwise", num_orders=5),
    "adaptive": RankingMethod("adaptive"),
    "pairwise": RankingMethod("pairwise"),
    "tournament": RankingMethod("tournament"),
}


@dataclass(frozen=True)
class List:
    """A list to rank, with what its answers are worth; equal worth is a tie, and no pair."""

    id: str
    question: str
    answers: Mapping[str, str]
    worth: Mapping[str, float]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """(better, worse)."""
        both = [*combinations(self.worth, 2)]
        return [(a, b) if self.worth[a] > self.worth[b] else (b, a) for a, b in both if self.worth[a] != self.worth[b]]


class Simulated:
    """The simulated judge without its server; counts calls and tokens."""

    def __init__(self, position_bias: float) -> None:
        self.behaviour, self.calls, self.tokens = Behaviour(position_bias), 0, 0

    async def __call__(self, call: JudgeCall) -> Reply:
        """Its verdict on the very messages that it would get over HTTP."""
        texts = [message["content"] for message in call.messages]
        said = judge(texts, self.behaviour).text
        self.calls += 1
        self.tokens += sum(map(count_tokens, [*texts, said]))
        return Reply(said, "simulated-judge", 0, 0, 0.0, 0.0)


async def measure(
    lists: Sequence[List], way: RankingMethod, bias: float, shown: Sequence[Demonstration]
) -> dict[str, Any]:
    """Cost and accuracy of one way on these lists."""
    ask_judge = Simulated(bias)
    spec = PromptSpec(load_template(ROOT / "prompts", "rank"), "simulated-judge", (), seed=2)
    found = []
    for each in lists:
        question = RankingTask(spec, "accuracy", each.id, each.question, each.answers, shown)
        judgement = await rank(ask_judge, question, way)
        if ranking := judgement.ranking(each.id):
            found.append((each, ranking))
    taus = [2 * accuracy(each, ranking) - 1 for each, ranking in found]
    tau = with_interval("tau", taus)
    decided = [(each, pair) for each, ranking in found for pair in ranking.preferences if pair.share >= 0.6]
    sure = [float(each.worth[p.better] > each.worth[p.worse]) for each, p in decided if _apart(each, p.better, p.worse)]
    compared = sum(len(each.pairs) for each, _ in found)
    return {
        "lists": len(found),
        "calls": ask_judge.calls / len(lists),
        "tokens": ask_judge.tokens / len(lists),
        "accuracy": (1 + tau.value) / 2,
        "tau": tau.value,
        "tau_low": tau.low,
        "tau_high": tau.high,
        "decided": len(sure) / compared,
        "accuracy_on_decided": fmean(sure) if sure else None,
        "steadiness": fmean(ranking.steadiness for _, ranking in found),
    }


def accuracy(each: List, ranking: Ranking) -> float:
    """Share of the pairs of unlike worth that the order places right."""
    place = {item: number for number, item in enumerate(ranking.order)}
    return fmean(float(place[better] < place[worse]) for better, worse in each.pairs)


def _apart(each: List, one: str, other: str) -> bool:
    return each.worth[one] != each.worth[other]


def demo_lists(count: int, answers: int) -> list[List]:
    """Labelled lists of the demo world; the gold rubric's order is the worth."""
    made = []
    for labelled in dataset.labelled_lists(count, answers, seed=4):
        ids = metrics.labelled_ids(labelled)
        worth = {item: float(-place) for place, item in enumerate(ids)}
        made.append(List(labelled.id, labelled.prompt.text, metrics.labelled_texts(labelled), worth))
    return made


def rewardbench(data: Path, count: int) -> list[List]:
    """Eleven answers of one policy to each prompt, scored by GPT-4 against one reference; shuffled prompts."""
    (path,) = (data / "rewardbench_bon16").glob("*.jsonl.gz")
    rows = random.Random(0).sample([row for _, row in json_lines(path)], count)
    return [_scored(f"rewardbench/{number}", row) for number, row in enumerate(rows)]


def _scored(name: str, row: Mapping[str, Any]) -> List:
    scored = {f"{name}/{each['sample']}": each for each in row["responses"] if each["gpt4_pref"] is not None}
    answers = {item: each["output"] for item, each in scored.items()}
    return List(name, row["instruction"], answers, {item: each["gpt4_pref"] for item, each in scored.items()})


def oasst(data: Path) -> Iterator[List]:
    """Replies that people ranked, three or more to a message."""
    waiting = [tree["prompt"] for _, tree in json_lines(data / "oasst_en_100" / "en_100_tree.jsonl")]
    while waiting:
        message = waiting.pop()
        replies = message.get("replies", [])
        waiting += replies
        ranked = {each["message_id"]: each for each in replies if each.get("rank") is not None}
        if len(ranked) >= 3:
            texts = {item: each["text"] for item, each in ranked.items()}
            worth = {item: float(-each["rank"]) for item, each in ranked.items()}
            yield List(message["message_id"], message["text"], texts, worth)


async def run(data: Path, quick: bool) -> dict[str, Any]:
    """Every figure of the ways' table in docs/judging.md."""
    sizes = {4: 4, 8: 2} if quick else {4: 60, 8: 20}
    found: dict[str, Any] = {"demo": [], "recorded": [], "lists": [], "left_out": []}
    for answers, count in sizes.items():
        lists = demo_lists(count, answers)
        for name, way in WAYS.items():
            if name == "tournament" and answers <= way.group_size:
                continue
            for bias in BIASES[:1] if quick else BIASES:
                figures = await measure(lists, way, bias, STATIC)
                found["demo"].append({"way": name, "answers": answers, "position_bias": bias, **figures})
    if (data / "llmbar").is_dir():
        records = recorded_judges.read(data / "llmbar")
        found["recorded"] = await recorded_judges.measure(records[:400] if quick else records)
        sets = {
            "rewardbench_bon16": rewardbench(data, 3 if quick else 60),
            "oasst": [*oasst(data)][: 3 if quick else 155],
        }
        for source, lists in sets.items():
            for name in ("listwise, 1 order", "listwise, 2 orders", "adaptive", "tournament"):
                figures = await measure([each for each in lists if each.pairs], WAYS[name], 0.3, STATIC)
                found["lists"].append({"source": source, "way": name, **figures})
    else:
        found["left_out"] = [f"no data at {data}"]
    return found


def as_markdown(found: Mapping[str, Any]) -> str:
    """The tables of docs/judging.md."""
    return "\n\n".join("\n".join(rows) for rows in (_demo(found), _recorded(found), _lists(found), found["left_out"]))


def _demo(found: Mapping[str, Any]) -> list[str]:
    """A row a way; accuracy at every position bias, and the decided pairs at the demo's bias and at the largest."""
    biases = sorted({each["position_bias"] for each in found["demo"]})
    shown = [bias for bias in (0.3, 2.0) if bias in biases]
    heads = ["answers", "way", *[f"calls at {bias}" for bias in shown], *[f"tokens at {bias}" for bias in shown[:1]]]
    heads += [f"accuracy at {bias}" for bias in biases] + [f"decided at {bias} (accuracy)" for bias in shown]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (answers, way), group in groupby(found["demo"], key=lambda each: (each["answers"], each["way"])):
        at = {each["position_bias"]: each for each in group}
        cells = [str(answers), way, *[f"{at[bias]['calls']:.1f}" for bias in shown]]
        cells += [f"{at[bias]['tokens']:,.0f}" for bias in shown[:1]] + [
            _number(at[bias]["accuracy"]) for bias in biases
        ]
        cells += [f"{at[bias]['decided']:.2f} ({_number(at[bias]['accuracy_on_decided'])})" for bias in shown]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _recorded(found: Mapping[str, Any]) -> list[str]:
    heads = (
        "judge | records | flips | one order | both orders | decided | accuracy on them | all its prompts, both orders"
    )
    rows = [f"| {heads} |", "|---" * 8 + "|"]
    for each in found["recorded"]:
        one, both = each.get("one_order", {}), each.get("both_orders", {})
        figures = (each.get("flips"), one.get("accuracy"), both.get("accuracy"), both.get("decided"))
        more = (both.get("accuracy_on_decided"), each["consensus"]["accuracy"])
        count = f"{each['records']:,}" if "records" in each else ""
        rows.append(f"| {each['judge']} | {count} | {' | '.join(map(_number, (*figures, *more)))} |")
    return rows


def _lists(found: Mapping[str, Any]) -> list[str]:
    rows = ["| lists | way | calls | tokens | tau | steadiness |", "|---" * 6 + "|"]
    for each in found["lists"]:
        tau = f"{each['tau']:.3f} [{each['tau_low']:.3f}, {each['tau_high']:.3f}]"
        head = f"| {each['source']} ({each['lists']}) | {each['way']} | {each['calls']:.1f} | {each['tokens']:,.0f} "
        rows.append(f"{head}| {tau} | {each['steadiness']:.2f} |")
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a few lists of each sort, to see that it runs")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    given = parser.parse_args()
    found = asyncio.run(run(given.data, given.quick))
    print(json.dumps(found, indent=2) if given.json else as_markdown(found))


if __name__ == "__main__":
    main()
