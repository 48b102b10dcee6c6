"""Cost and accuracy of each ranking method: ``python -m benchmarks.judge_accuracy --json``.

- ``demo``: labelled lists of the demo world and the *simulated* judge at several position biases.
- ``recorded``: recorded verdicts of five real judges on LLMBar, replayed (see `benchmarks.recorded_judges`).
- ``lists``: RewardBench's best-of-16 lists scored by GPT-4 and OpenAssistant's lists ranked by humans, ranked by the
  simulated judge, which was not built for such text.

The last two need a folder of data (``--data``); without it they are skipped, with a note.
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
METHODS = {
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
    """A list to rank, with the quality of its answers; answers of equal quality form no pair."""

    id: str
    question: str
    answers: Mapping[str, str]
    quality: Mapping[str, float]

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return (better, worse) of each pair of different quality."""
        pairs = [(a, b) for a, b in combinations(self.quality, 2) if self.quality[a] != self.quality[b]]
        return [(a, b) if self.quality[a] > self.quality[b] else (b, a) for a, b in pairs]


class Simulated:
    """The simulated judge without its server; counts calls and tokens."""

    def __init__(self, position_bias: float) -> None:
        self.behaviour, self.calls, self.tokens = Behaviour(position_bias), 0, 0

    async def __call__(self, call: JudgeCall) -> Reply:
        """Return its reply to the messages that it would receive over HTTP."""
        texts = [message["content"] for message in call.messages]
        text = judge(texts, self.behaviour).text
        self.calls += 1
        self.tokens += sum(map(count_tokens, [*texts, text]))
        return Reply(text, "simulated-judge", 0, 0, 0.0, 0.0)


async def measure(
    lists: Sequence[List], method: RankingMethod, bias: float, shown: Sequence[Demonstration]
) -> dict[str, Any]:
    """Return cost and accuracy of one method on these lists."""
    ask_judge = Simulated(bias)
    spec = PromptSpec(load_template(ROOT / "prompts", "rank"), "simulated-judge", (), seed=2)
    ranked = []
    for row in lists:
        task = RankingTask(spec, "accuracy", row.id, row.question, row.answers, shown)
        judgement = await rank(ask_judge, task, method)
        if ranking := judgement.ranking(row.id):
            ranked.append((row, ranking))
    taus = [2 * accuracy(row, ranking) - 1 for row, ranking in ranked]
    tau = with_interval("tau", taus)
    decided = [(row.quality, pair) for row, ranking in ranked for pair in ranking.preferences if pair.share >= 0.6]
    right = [
        float(quality[pair.better] > quality[pair.worse])
        for quality, pair in decided
        if quality[pair.better] != quality[pair.worse]
    ]
    compared = sum(len(row.pairs) for row, _ in ranked)
    return {
        "lists": len(ranked),
        "calls": ask_judge.calls / len(lists),
        "tokens": ask_judge.tokens / len(lists),
        "accuracy": (1 + tau.value) / 2,
        "tau": tau.value,
        "tau_low": tau.low,
        "tau_high": tau.high,
        "decided": len(right) / compared,
        "accuracy_on_decided": fmean(right) if right else None,
        "steadiness": fmean(ranking.steadiness for _, ranking in ranked),
    }


def accuracy(row: List, ranking: Ranking) -> float:
    """Return the share of pairs of different quality in the right order."""
    place = {item: number for number, item in enumerate(ranking.order)}
    return fmean(float(place[better] < place[worse]) for better, worse in row.pairs)


def demo_lists(count: int, answers: int) -> list[List]:
    """Return labelled lists of the demo world, with the gold order as quality."""
    lists = []
    for labelled in dataset.labelled_lists(count, answers, seed=4):
        ids = metrics.labelled_ids(labelled)
        quality = {item: float(-place) for place, item in enumerate(ids)}
        lists.append(List(labelled.id, labelled.prompt.text, metrics.labelled_texts(labelled), quality))
    return lists


def rewardbench(data: Path, count: int) -> list[List]:
    """Return lists of eleven answers by one policy, scored by GPT-4 against one reference; prompts shuffled."""
    (path,) = (data / "rewardbench_bon16").glob("*.jsonl.gz")
    rows = random.Random(0).sample([row for _, row in json_lines(path)], count)
    return [_scored(f"rewardbench/{number}", row) for number, row in enumerate(rows)]


def _scored(name: str, row: Mapping[str, Any]) -> List:
    scored = {f"{name}/{answer['sample']}": answer for answer in row["responses"] if answer["gpt4_pref"] is not None}
    answers = {item: answer["output"] for item, answer in scored.items()}
    return List(name, row["instruction"], answers, {item: answer["gpt4_pref"] for item, answer in scored.items()})


def oasst(data: Path) -> Iterator[List]:
    """Yield lists of three or more replies to one message, ranked by humans."""
    waiting = [tree["prompt"] for _, tree in json_lines(data / "oasst_en_100" / "en_100_tree.jsonl")]
    while waiting:
        message = waiting.pop()
        replies = message.get("replies", [])
        waiting += replies
        ranked = {reply["message_id"]: reply for reply in replies if reply.get("rank") is not None}
        if len(ranked) >= 3:
            texts = {item: reply["text"] for item, reply in ranked.items()}
            quality = {item: float(-reply["rank"]) for item, reply in ranked.items()}
            yield List(message["message_id"], message["text"], texts, quality)


async def run(data: Path, quick: bool) -> dict[str, Any]:
    """Measure all figures of the table of methods in docs/judging.md."""
    sizes = {4: 4, 8: 2} if quick else {4: 60, 8: 20}
    results: dict[str, Any] = {"demo": [], "recorded": [], "lists": [], "left_out": []}
    for answers, count in sizes.items():
        lists = demo_lists(count, answers)
        for name, method in METHODS.items():
            if name == "tournament" and answers <= method.group_size:
                continue
            for bias in BIASES[:1] if quick else BIASES:
                figures = await measure(lists, method, bias, STATIC)
                results["demo"].append({"method": name, "answers": answers, "position_bias": bias, **figures})
    if (data / "llmbar").is_dir():
        records = recorded_judges.read(data / "llmbar")
        results["recorded"] = await recorded_judges.measure(records[:400] if quick else records)
        sets = {
            "rewardbench_bon16": rewardbench(data, 3 if quick else 60),
            "oasst": [*oasst(data)][: 3 if quick else 155],
        }
        for source, lists in sets.items():
            for name in ("listwise, 1 order", "listwise, 2 orders", "adaptive", "tournament"):
                figures = await measure([row for row in lists if row.pairs], METHODS[name], 0.3, STATIC)
                results["lists"].append({"source": source, "method": name, **figures})
    else:
        results["left_out"] = [f"no data at {data}"]
    return results


def as_markdown(results: Mapping[str, Any]) -> str:
    """Return the tables of docs/judging.md."""
    return "\n\n".join(
        "\n".join(rows) for rows in (_demo(results), _recorded(results), _lists(results), results["left_out"])
    )


def _demo(results: Mapping[str, Any]) -> list[str]:
    """One row per method: accuracy at each position bias, decided pairs at the demo's bias and at the largest."""
    biases = sorted({row["position_bias"] for row in results["demo"]})
    shown = [bias for bias in (0.3, 2.0) if bias in biases]
    heads = ["answers", "method", *[f"calls at {bias}" for bias in shown], *[f"tokens at {bias}" for bias in shown[:1]]]
    heads += [f"accuracy at {bias}" for bias in biases] + [f"decided at {bias} (accuracy)" for bias in shown]
    rows = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for (answers, method), group in groupby(results["demo"], key=lambda row: (row["answers"], row["method"])):
        at = {row["position_bias"]: row for row in group}
        cells = [str(answers), method, *[f"{at[bias]['calls']:.1f}" for bias in shown]]
        cells += [f"{at[bias]['tokens']:,.0f}" for bias in shown[:1]] + [
            _number(at[bias]["accuracy"]) for bias in biases
        ]
        cells += [f"{at[bias]['decided']:.2f} ({_number(at[bias]['accuracy_on_decided'])})" for bias in shown]
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def _recorded(results: Mapping[str, Any]) -> list[str]:
    heads = (
        "judge | records | flips | one order | both orders | decided | accuracy on them | all its prompts, both orders"
    )
    rows = [f"| {heads} |", "|---" * 8 + "|"]
    for row in results["recorded"]:
        one, both = row.get("one_order", {}), row.get("both_orders", {})
        figures = (row.get("flips"), one.get("accuracy"), both.get("accuracy"), both.get("decided"))
        more = (both.get("accuracy_on_decided"), row["consensus"]["accuracy"])
        count = f"{row['records']:,}" if "records" in row else ""
        rows.append(f"| {row['judge']} | {count} | {' | '.join(map(_number, (*figures, *more)))} |")
    return rows


def _lists(results: Mapping[str, Any]) -> list[str]:
    rows = ["| lists | method | calls | tokens | tau | steadiness |", "|---" * 6 + "|"]
    for row in results["lists"]:
        tau = f"{row['tau']:.3f} [{row['tau_low']:.3f}, {row['tau_high']:.3f}]"
        head = f"| {row['source']} ({row['lists']}) | {row['method']} | {row['calls']:.1f} | {row['tokens']:,.0f} "
        rows.append(f"{head}| {tau} | {row['steadiness']:.2f} |")
    return rows


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true", help="a few lists of each kind, as a smoke test")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    options = parser.parse_args()
    results = asyncio.run(run(options.data, options.quick))
    print(json.dumps(results, indent=2) if options.json else as_markdown(results))


if __name__ == "__main__":
    main()
