"""One demo policy for all tests: trained once, then loaded from the user's cache."""

from pathlib import Path

import pytest
from filelock import FileLock

from cyclealign.demo.policy import demo_policy
from cyclealign.files import home


@pytest.fixture(scope="session")
def policy_folder() -> Path:
    """Return the folder of the default demo policy."""
    cache = home() / "models"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / ".training.lock"):  # two test workers would train it twice
        return demo_policy(cache)
