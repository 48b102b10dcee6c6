"""Models small enough to be trained in every session; their vocabulary is that of the demo texts."""

from pathlib import Path

import pytest
from sentence_transformers import SentenceTransformer

from cyclealign.distill.leaf import demo_models
from cyclealign.distill.leaf.teacher_models import load_model

RECIPE = demo_models.TeacherRecipe(pairs=400, batch=50, hidden=16, layers=1, dims=(16, 8))


@pytest.fixture(scope="session")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("leaf-models")


@pytest.fixture(scope="session")
def teacher_folder(cache) -> Path:
    return demo_models.demo_teacher(cache, recipe=RECIPE)


@pytest.fixture(scope="session")
def backbone(cache) -> Path:
    return demo_models.demo_backbone(cache, seed=0)


@pytest.fixture
def teacher(teacher_folder) -> SentenceTransformer:
    return load_model(str(teacher_folder))
