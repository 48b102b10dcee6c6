"""Common part of students that encode query and passage apart, with one model of sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, TypeVar

from sentence_transformers import MultiVectorEncoder, SentenceTransformer

from cyclealign.distill.margin_mse.config import StudentSettings
from cyclealign.distill.margin_mse.student import Features, Student

Model = TypeVar("Model", SentenceTransformer, MultiVectorEncoder)


class TwoTowerStudent(Student, Generic[Model]):
    """Tokenizes and saves with the library, which can load the folder too."""

    model: Model

    def __init__(self, settings: StudentSettings, model: Model) -> None:
        super().__init__(settings)
        self.model = model

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder), create_model_card=False, safe_serialization=True)

    def prepare(self, queries: Sequence[str], passages: Sequence[str]) -> Features:
        return {
            "queries": dict(self.model.preprocess(list(queries), task="query")),
            "passages": dict(self.model.preprocess(list(passages), task="document")),
        }
