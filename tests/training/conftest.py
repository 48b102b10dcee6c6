"""The tiny model of the training tests, and jobs on it."""

import pytest

from cyclealign.config import PolicySettings
from cyclealign.policy.transformers_policy import TransformersPolicy
from tests.support.tiny import make_model
from tests.support.training_jobs import PROMPT


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    return str(make_model(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="package")
def policy(folder):
    return TransformersPolicy(PolicySettings(), folder)


@pytest.fixture
def prompt_ids(policy):
    return tuple(policy.prompt_ids(PROMPT))
