"""Settings as hashes see them: renaming or adding one keeps the key of everything that was made before."""

import hashlib
import json
from typing import Annotated

import pytest
from pydantic import Field

from cyclealign.config import ADDED_LATER, Formerly, Section, load_settings, settings_identity
from cyclealign.distill.registry import JOBS
from cyclealign.files import EXAMPLES
from tests.support.paths import ROOT

CONFIGS_OF_0_1_0 = ROOT / "tests" / "homes" / "0.1.0" / "configs"
# Of the settings that release 0.1.0 read from each example, as JSON.
GOLDEN = {
    "pld-demo": "7040b03b556fa5b1",
    "pld": "cc623beee91f5f2b",
    "quantidce-demo": "97c0ca0bf18032bb",
    "quantidce": "cff53b5743997b70",
    "cprd-demo": "4a379dc22c6e8e8a",
    "cprd": "f5bcbaa43e951ab3",
    "leaf-demo": "70bb9d7a69a09617",
    "leaf": "d18d6a78fdcf2b11",
    "idcm-demo": "061d4e5120c3a4ad",
    "idcm": "eb01688820c59fa9",
    "margin-mse-demo": "5928fbfd787ec4b5",
    "margin-mse": "066fea1225a71350",
}


class Inner(Section):
    most_words: int = 16


class Outer(Section):
    source: str = "made"
    inner: Inner = Inner()
    several: tuple[Inner, ...] = (Inner(), Inner(most_words=4))
    named: dict[str, Inner] = Field({"a": Inner()})
    rate: float = 0.5


class InnerNow(Section):
    max_words: Annotated[int, Formerly("most_words")] = Field(16, ge=2)
    trim: Annotated[bool, ADDED_LATER] = Field(False, title="Trim")


class OuterNow(Section):
    source: Annotated[str, Formerly(values={"made": "demo"})] = "demo"
    part: Annotated[InnerNow, Formerly("inner")] = InnerNow()
    several: tuple[InnerNow, ...] = (InnerNow(), InnerNow(max_words=4))
    named: dict[str, InnerNow] = Field({"a": InnerNow()})
    rate: float = 0.5


@pytest.mark.parametrize("folder", [EXAMPLES, CONFIGS_OF_0_1_0], ids=["today", "0.1.0"])
@pytest.mark.parametrize("name", GOLDEN)
def test_settings_are_hashed_as_release_0_1_0_dumped_them(name, folder):
    """Prevents students of 0.1.0, whose keys hold the dumped settings, from being trained again."""
    model = JOBS[name.removesuffix("-demo")].config_model()
    config = load_settings(folder / f"{name}.toml", model)
    identity = json.dumps(settings_identity(config, exclude={"force"}), sort_keys=True)
    assert hashlib.sha256(identity.encode()).hexdigest()[:16] == GOLDEN[name]


def test_settings_under_former_names_have_the_same_identity():
    """Prevents a config of 0.1.0 from training what it had trained under the former names."""
    former = {"source": "made", "inner": {"most_words": 4}}
    assert settings_identity(OuterNow.model_validate(former)) == settings_identity(Outer.model_validate(former))


def test_renamed_and_added_settings_keep_the_key():
    """Prevents a better name, or one more setting, from throwing students away: in nested sections too."""
    assert settings_identity(OuterNow()) == settings_identity(Outer()) == Outer().model_dump(mode="json")


def test_values_of_renamed_and_added_settings_change_the_key():
    """Prevents students of other settings from being taken for those that were asked for."""
    keys = [
        settings_identity(each)
        for each in (OuterNow(), OuterNow(part=InnerNow(max_words=3)), OuterNow(part=InnerNow(trim=True)))
    ]
    assert keys[1]["inner"] == {"most_words": 3}
    assert keys[2]["inner"] == {"most_words": 16, "trim": True}
    assert keys[0] not in keys[1:]


def test_excluded_settings_are_left_out():
    """Prevents what does not bear on a result, such as its arms, from changing its key."""
    assert set(settings_identity(OuterNow(), exclude={"several", "named", "source"})) == {"inner", "rate"}
