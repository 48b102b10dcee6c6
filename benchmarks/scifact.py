"""SciFact as the benchmarks read it: claims, abstracts, judgements of the test claims, cited papers of the others."""

import csv
import gzip
import re
from collections.abc import Iterator
from pathlib import Path

from cyclealign.distill.margin_mse.data import Collection

HERE = Path("../shared/data/scifact")
SENTENCE_BREAK = re.compile(r"""['"]\s*\n\s*['"]""")


def read(folder: Path) -> Collection:
    """All abstracts, with the splits `train` (809 claims, 919 cited papers) and `test` (300 claims, 339 positives)."""
    passages = {row["doc_id"]: f"{row['title']} {_abstract(row['abstract'])}" for row in _rows(folder, "corpus_train")}
    queries: dict[str, str] = {}
    train: dict[str, dict[str, int]] = {}
    for row in _rows(folder, "claims_train"):
        queries[row["id"]] = row["claim"]
        cited = re.findall(r"\d+", row["cited_doc_ids"])
        train.setdefault(row["id"], {}).update(dict.fromkeys(cited, 1))
    with gzip.open(folder / "topics.beir-v1.0.0-scifact.test.tsv.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            query_id, _, claim = line.rstrip("\n").partition("\t")
            queries[query_id] = claim
    return Collection(passages, queries, {"train": train, "test": _test(folder)})


def _rows(folder: Path, name: str) -> Iterator[dict[str, str]]:
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _abstract(written: str) -> str:
    """The text of an array of sentences as numpy prints it."""
    return SENTENCE_BREAK.sub(" ", written.strip()[2:-2])


def _test(folder: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels.beir-v1.0.0-scifact.test.txt").read_text(encoding="utf-8").splitlines():
        query_id, _, passage_id, grade = line.split()
        found.setdefault(query_id, {})[passage_id] = int(grade)
    return found
