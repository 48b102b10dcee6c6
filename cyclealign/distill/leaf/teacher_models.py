"""Teachers: a Sentence Transformers model, or a file of vectors. Only their vectors are used."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from cyclealign.distill.data.datasets import load_table
from cyclealign.distill.leaf.config import TeacherSettings
from cyclealign.distill.leaf.labels import Kind
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.distill.models.encoders import load_failure
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file
from cyclealign.policy.device import device
from cyclealign.progress import OnProgress

TextKey = tuple[str, str]  # kind and text


class ModelTeacher:
    """A Sentence Transformers model. Queries get its instruction; documents get a prompt only if the model has one."""

    def __init__(self, model: str, settings: TeacherSettings) -> None:
        """Load the model.

        Args:
            model: a folder or Hugging Face id (for `demo`: the folder of the demo teacher).

        Raises:
            DistillError: it is missing, or has no safetensors.
        """
        self.model = load_model(model, settings.revision)
        if settings.max_tokens is not None:
            self.model.max_seq_length = settings.max_tokens
        if settings.query_prompt is not None:
            self.model.prompts["query"] = settings.query_prompt
        self._batch = settings.batch
        self._name = model

    @property
    def query_prompt(self) -> str:
        return str(self.model.prompts.get("query") or "")

    @property
    def identity(self) -> str:
        return f"{weights_of(self._name, self.model)} {self.model.max_seq_length} {sorted(self.model.prompts.items())}"

    def vectors(self, texts: Sequence[str], kind: Kind, on_progress: OnProgress) -> Vectors:
        return encode(self.model, texts, kind, self._batch, on_progress)


class FileTeacher:
    """A file with columns `text`, `vector` and, for queries, `kind`; vectors are looked up by text, not by position."""

    model = None

    def __init__(self, path: str, query_prompt: str | None) -> None:
        """Read the file.

        Raises:
            DistillError: it cannot be read or lacks a column, a vector is malformed, or a text has two vectors.
        """
        table = load_table(path)
        if not {"text", "vector"} <= set(table.column_names):
            raise DistillError(
                f"{path}: expected columns 'text' and 'vector' (and 'kind'); it has {table.column_names}."
            )
        self._vectors_ND = parse_vectors(table["vector"], path)
        kinds = table["kind"] if "kind" in table.column_names else ["document"] * len(table)
        self._row_of = row_index(kinds, table["text"], self._vectors_ND, path)
        self._path = path
        self.query_prompt = query_prompt or ""

    @property
    def identity(self) -> str:
        return hash_of_file(Path(self._path))

    def vectors(self, texts: Sequence[str], kind: Kind, on_progress: OnProgress) -> Vectors:
        missing = [text for text in texts if (kind, text) not in self._row_of]
        if missing:
            raise DistillError(
                f"{self._path} lacks the vectors of {len(missing)} of {len(texts)} texts of kind '{kind}', the first: "
                f"{missing[0][:80]!r}. Every training text and every text of the task needs its vector."
            )
        on_progress(len(texts), len(texts))
        vectors_ND: Vectors = self._vectors_ND[[self._row_of[kind, text] for text in texts]]
        return vectors_ND


def row_index(kinds: Iterable[str | None], texts: Iterable[str], vectors_ND: Vectors, path: str) -> dict[TextKey, int]:
    """Return the row number of each (kind, text); a missing kind means document.

    Raises:
        DistillError: a text has two different vectors.
    """
    row_of: dict[TextKey, int] = {}
    for number, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        first = row_of.setdefault((kind or "document", text), number)
        if not np.array_equal(vectors_ND[first], vectors_ND[number]):
            raise DistillError(
                f"{path}, rows {first + 1} and {number + 1}: the same text has different vectors, {text[:80]!r}. "
                "Keep one of them; 'kind' tells a query from a document."
            )
    return row_of


def parse_vectors(column: Sequence[object], path: str) -> Vectors:
    """Convert a column of lists of numbers to vectors (N, D).

    Raises:
        DistillError: a row is not a list of finite numbers, or the lists differ in length.
    """
    for number, row in enumerate(column, 1):
        if not isinstance(row, list) or not all(isinstance(value, int | float) and isfinite(value) for value in row):
            raise DistillError(f"{path}, row {number}: 'vector' must be a list of finite numbers.")
    lengths = {len(row) for row in column if isinstance(row, list)}
    if len(lengths) != 1:
        raise DistillError(f"{path}: all vectors must have the same length; these have {sorted(lengths)}.")
    return np.asarray(column, dtype=np.float32)


def load_model(model: str, revision: str | None = None) -> SentenceTransformer:
    """Load a Sentence Transformers model from safetensors, without running its own code.

    Raises:
        DistillError: it is missing or cannot be loaded.
    """
    try:
        return SentenceTransformer(
            model, revision=revision, device=device(), model_kwargs={"use_safetensors": True}, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DistillError(
            f"The embedding model '{model}' could not be loaded. Name a Sentence Transformers folder with "
            f"*.safetensors, or a Hugging Face id. ({load_failure(error)})"
        ) from error


def weights_of(name: str, model: SentenceTransformer) -> str:
    """Return the hashes of a folder's files, or the Hugging Face id with the commit that was fetched."""
    folder = Path(name)
    if not folder.is_dir():
        commits = {getattr(getattr(module, "config", None), "_commit_hash", None) for module in model}
        return f"{name}@{sorted(filter(None, commits))}"
    files = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json", ".txt"})
    return " ".join(f"{path.relative_to(folder)}={hash_of_file(path)[:16]}" for path in files)
