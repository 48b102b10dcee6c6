"""SciFact for the benchmarks: claims, abstracts, judgements of the test claims, cited papers of the training claims."""

import csv
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from benchmarks.configs import DATA
from cyclealign.distill.margin_mse.data import Collection

SCIFACT = DATA / "scifact"
SENTENCE_BREAK = re.compile(r"""['"]\s*\n\s*['"]""")


def read_collection(folder: Path) -> Collection:
    """Read all abstracts, and the splits `train` (809 claims, 919 cited papers) and `test` (300 claims, 339 papers)."""
    passages = {row["doc_id"]: f"{row['title']} {_abstract(row['abstract'])}" for row in rows(folder, "corpus_train")}
    queries: dict[str, str] = {}
    train: dict[str, dict[str, int]] = {}
    for row in rows(folder, "claims_train"):
        queries[row["id"]] = row["claim"]
        train.setdefault(row["id"], {}).update(dict.fromkeys(cited_papers(row), 1))
    return Collection(passages, queries | test_claims(folder), {"train": train, "test": test_qrels(folder)})


def rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    """Yield the rows of one of SciFact's tables."""
    csv.field_size_limit(10**7)
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def cited_papers(claim: dict[str, str]) -> list[str]:
    """Return the ids of the papers that a training claim cites."""
    return re.findall(r"\d+", claim["cited_doc_ids"])


def test_claims(folder: Path) -> dict[str, str]:
    """Return id -> text of the test claims."""
    with gzip.open(folder / "topics.beir-v1.0.0-scifact.test.tsv.gz", "rt", encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").partition("\t") for line in lines]
    return {query_id: claim for query_id, _, claim in pairs}


def test_qrels(folder: Path) -> dict[str, dict[str, int]]:
    """Return query id -> document id -> grade of BEIR's test split."""
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.beir-v1.0.0-scifact.test.txt").read_text(encoding="utf-8").splitlines():
        query_id, _, passage_id, grade = line.split()
        qrels.setdefault(query_id, {})[passage_id] = int(grade)
    return qrels


def _abstract(printed: str) -> str:
    """Return the text of an abstract, which the table holds as a printed numpy array of sentences."""
    return SENTENCE_BREAK.sub(" ", printed.strip()[2:-2])
