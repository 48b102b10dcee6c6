"""The teacher: any Sentence Transformers model, or a file of vectors. A black box: only its vectors are used."""

from collections.abc import Iterable, Sequence
from math import isfinite
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from cyclealign.distill.data.datasets import table
from cyclealign.distill.leaf.config import TeacherSettings
from cyclealign.distill.leaf.labels import Kind, Progress
from cyclealign.distill.leaf.predict import encode
from cyclealign.distill.leaf.rotations import Vectors
from cyclealign.distill.models.encoders import reason
from cyclealign.errors import DistillError
from cyclealign.files import hash_of_file
from cyclealign.policy.device import device

Address = tuple[str, str]  # a text's kind, and the text


class ModelTeacher:
    """A Sentence Transformers model; queries get its instruction, documents none unless the model has one."""

    def __init__(self, model: str, settings: TeacherSettings) -> None:
        """Load it.

        Args:
            model: a folder or hub id (the demo's folder, where the settings say `demo`).

        Raises:
            DistillError: there is none, or it has no safetensors.
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

    def vectors(self, texts: Sequence[str], kind: Kind, progress: Progress) -> Vectors:
        return encode(self.model, texts, kind, self._batch, progress)


class FileTeacher:
    """Vectors from a file with columns `text`, `vector` and, for queries, `kind`: found by text, never by position."""

    model = None

    def __init__(self, path: str, query_prompt: str | None) -> None:
        """Read it.

        Raises:
            DistillError: it cannot be read, lacks a column, a row holds no vector of the common length, or rows of one
                text differ.
        """
        rows = table(path)
        if not {"text", "vector"} <= set(rows.column_names):
            raise DistillError(f"{path}: want columns 'text' and 'vector' (and 'kind'); it has {rows.column_names}.")
        given_ND = numbers_of(rows["vector"], path)
        kinds = rows["kind"] if "kind" in rows.column_names else ["document"] * len(rows)
        self._vectors_ND = given_ND
        self._place = places(kinds, rows["text"], given_ND, path)
        self._path = path
        self.query_prompt = query_prompt or ""

    @property
    def identity(self) -> str:
        return hash_of_file(Path(self._path))

    def vectors(self, texts: Sequence[str], kind: Kind, progress: Progress) -> Vectors:
        missing = [text for text in texts if (kind, text) not in self._place]
        if missing:
            raise DistillError(
                f"{self._path} lacks the vectors of {len(missing)} of {len(texts)} texts of kind '{kind}', the first: "
                f"{missing[0][:80]!r}. Every text that is trained on or examined needs its vector."
            )
        progress(len(texts), len(texts))
        found: Vectors = self._vectors_ND[[self._place[kind, text] for text in texts]]
        return found


def places(kinds: Iterable[str | None], texts: Iterable[str], vectors_ND: Vectors, path: str) -> dict[Address, int]:
    """The row of each text of each kind.

    Raises:
        DistillError: a text has two vectors.
    """
    found: dict[Address, int] = {}
    for number, (kind, text) in enumerate(zip(kinds, texts, strict=True)):
        first = found.setdefault((kind or "document", text), number)
        if not np.array_equal(vectors_ND[first], vectors_ND[number]):
            raise DistillError(
                f"{path}, rows {first + 1} and {number + 1}: the same text has different vectors, {text[:80]!r}. "
                "Leave in one of them; 'kind' tells a query from a document."
            )
    return found


def numbers_of(column: Sequence[object], path: str) -> Vectors:
    """A column of lists of numbers as vectors (N, D).

    Raises:
        DistillError: a row is no list of finite numbers, or they differ in length.
    """
    for number, row in enumerate(column, 1):
        if not isinstance(row, list) or not all(isinstance(each, int | float) and isfinite(each) for each in row):
            raise DistillError(f"{path}, row {number}: 'vector' must be a list of finite numbers.")
    lengths = {len(row) for row in column if isinstance(row, list)}
    if len(lengths) != 1:
        raise DistillError(f"{path}: all vectors have one length; these have {sorted(lengths)}.")
    return np.asarray(column, dtype=np.float32)


def load_model(model: str, revision: str | None = None) -> SentenceTransformer:
    """A Sentence Transformers model from safetensors; code of its own is not run.

    Raises:
        DistillError: it is missing or cannot be loaded so.
    """
    try:
        return SentenceTransformer(
            model, revision=revision, device=device(), model_kwargs={"use_safetensors": True}, trust_remote_code=False
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DistillError(
            f"No embedding model '{model}' could be loaded. Give a folder of Sentence Transformers with *.safetensors, "
            f"or a Hugging Face id. ({reason(error)})"
        ) from error


def weights_of(name: str, model: SentenceTransformer) -> str:
    """The hash of a folder's files, or the hub's id with the commit that was fetched."""
    folder = Path(name)
    if not folder.is_dir():
        commits = {getattr(getattr(module, "config", None), "_commit_hash", None) for module in model}
        return f"{name}@{sorted(filter(None, commits))}"
    kept = sorted(path for path in folder.rglob("*") if path.suffix in {".safetensors", ".json", ".txt"})
    return " ".join(f"{path.relative_to(folder)}={hash_of_file(path)[:16]}" for path in kept)
