"""Models of the hub, loaded from a local stand-in for it: which files are read, and messages that say what to do."""

import json
import os
import re
import subprocess
import sys

import pytest

from cyclealign.policy.model_loading import load_model
from cyclealign.processes import environment_without_keys
from tests.support.hub import TOKEN, Hub
from tests.support.paths import ROOT
from tests.support.tiny import make_model

pytestmark = pytest.mark.slow

NO_TOKEN = r"No token reached this process: HF_TOKEN is not set in it, and nobody has logged in"
CASES = {
    "public": ("open/model", None, None, r"loaded \(31, 32\)"),
    "a tag": ("open/model", "v1", None, r"loaded \(31, 32\)"),
    "gated, with a token that may read it": ("closed/model", None, TOKEN, r"loaded \(31, 32\)"),
    "gated, no token": (
        "closed/model",
        "v1",
        None,
        r"is gated.*Accept them at .*/closed/model.*hf auth login.*" + NO_TOKEN,
    ),
    "gated, a token of another account": (
        "closed/model",
        None,
        "hf_notallowed",
        r"is gated.*A token reached this process, that of HF_TOKEN, and the hub refuses it.*account",
    ),
    "a token that is no longer valid": (
        "open/model",
        None,
        "hf_expired",
        r"does not accept the token.*'open/model': that of HF_TOKEN",
    ),
    "no such model": ("open/modle", None, None, r"no such model that you may read.*policy\.model.*" + NO_TOKEN),
    "no such revision": ("open/model", "v2", None, r"no such revision.*policy\.revision"),
}


def outcomes(cases, cache, **variables):
    """Return what a process of its own says of each case: the hub's address is read when its library is imported."""
    environment = {**os.environ, "HF_HOME": str(cache), "HF_HUB_OFFLINE": "0", "OMP_NUM_THREADS": "1", **variables}
    environment.pop("HF_TOKEN", None)
    command = [sys.executable, "-m", "tests.support.hub", json.dumps(cases)]
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def sharded(tmp_path_factory):
    """A model whose weights are in several files with an index."""
    folder = make_model(tmp_path_factory.mktemp("sharded"))
    model = load_model(str(folder), None, "cpu")
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="12KB")
    assert (folder / "model.safetensors.index.json").is_file()
    return folder


def test_each_answer_of_the_hub_leads_to_its_own_advice(sharded, tmp_path):
    """Prevents "no such folder" for a gated or private model, and a user who cannot tell whether a token was sent."""
    with Hub(sharded) as hub:
        rows = [(model, revision, token) for model, revision, token, _ in CASES.values()]
        told = dict(zip(CASES, outcomes(rows, tmp_path, HF_ENDPOINT=hub.url), strict=True))
    wrong = {name: told[name] for name, case in CASES.items() if not re.search(case[3], told[name], re.DOTALL)}
    assert not wrong
    assert not any(token in text for text in told.values() for token in (TOKEN, "hf_notallowed", "hf_expired"))
    assert any("/revision/v1" in path for path in hub.asked)
    # From the cache, without the network; and a model that is in no cache.
    offline = outcomes([rows[0], ("other/model", None, None)], tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1")
    assert offline[0] == told["public"]
    assert "not in the hub's cache on this machine" in offline[1]
    assert "HF_HUB_OFFLINE" in offline[1]


def test_the_hubs_token_reaches_training_and_engine(monkeypatch):
    """Prevents a gated model that the run can read from being refused to the processes that it starts."""
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert environment_without_keys()["HF_TOKEN"] == TOKEN
