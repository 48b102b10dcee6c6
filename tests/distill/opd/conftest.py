"""A tiny pair of language models with one tokenizer, and prompts in files."""

import json
from pathlib import Path
from typing import Any

import pytest

from cyclealign.demo.policy import Recipe, train_tokenizer, write_model
from cyclealign.distill.opd.predict import Generation
from cyclealign.distill.opd.student import Source, end_tokens, tokenizer_of

SIZES: dict[str, Any] = {"pairs": 24, "batch": 8, "vocabulary": 300, "heads": 1, "head_dim": 16, "context": 96}
STUDENT = Recipe(hidden=16, intermediate=32, layers=1, **SIZES)
TEACHER = Recipe(seed=18, hidden=24, intermediate=32, layers=2, **SIZES)
PAIRS = [(f"Where is number {n}?", f"Number {n} is in row {n % 3}.") for n in range(24)]
PROMPTS = [(1, 9, 8, 7), (1, 6, 5), (1, 4, 3, 9, 8, 7), (1, 5)]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `student` and `teacher`."""
    folder = tmp_path_factory.mktemp("opd-models")
    tokenizer = train_tokenizer([text for pair in PAIRS for text in pair], STUDENT)
    for name, recipe in (("student", STUDENT), ("teacher", TEACHER)):
        (folder / name).mkdir()
        write_model(folder / name, recipe, PAIRS, tokenizer, lambda done, of: None)
    return folder


@pytest.fixture
def student_source(models: Path) -> Source:
    return Source("student.model", str(models / "student"))


@pytest.fixture
def teacher_source(models: Path) -> Source:
    return Source("teacher.model", str(models / "teacher"))


@pytest.fixture
def generation(student_source: Source) -> Generation:
    """Answers of at most six tokens."""
    tokenizer = tokenizer_of(student_source)
    return Generation(tokenizer, end_tokens(student_source, tokenizer), 6, 1.0)


@pytest.fixture
def prompt_files(tmp_path: Path) -> tuple[Path, Path]:
    """JSON lines with prompts and answers, for training and for the evaluation."""
    files = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    for file, pairs in zip(files, (PAIRS[:16], PAIRS[16:]), strict=True):
        file.write_text("\n".join(json.dumps({"prompt": prompt, "answer": answer}) for prompt, answer in pairs))
    return files
