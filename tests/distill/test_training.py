"""The training loop of the jobs: schedules, precision, passes, early stopping; each leaves what it should not touch."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForImageClassification

from cyclealign.config import checked_settings
from cyclealign.distill import training
from cyclealign.distill.early_stopping import Validation
from cyclealign.distill.passes import Passes
from cyclealign.distill.pld import predict
from cyclealign.distill.pld import train as pld
from cyclealign.distill.pld.config import Config, ModelSettings
from cyclealign.distill.pld.config import TrainerSettings as PldTrainer
from cyclealign.distill.pld.data import Items, Splits
from cyclealign.distill.pld.model import Classifier, ink_values
from cyclealign.distill.settings import PassSettings, TrainerSettings, bearing
from cyclealign.distill.training import Loop, Plan, train
from cyclealign.distill.training_state import Checkpoints
from cyclealign.errors import DistillError

STEPS = 8


def silent(done: int, of: int) -> None:
    pass


def module(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 3))


def contrastive(net: nn.Module) -> Passes[Tensor]:
    """A loss that compares every item of the batch with every other."""

    def value(batch: Tensor, outputs: tuple[Tensor, ...]) -> Tensor:
        return nn.functional.cross_entropy(outputs[0] @ outputs[0].T, torch.arange(len(batch)).roll(1))

    return Passes(lambda batch: (net(batch),), value, Tensor.split)


def trained(net: nn.Module, loop: Loop = training.PLAIN, **plan: Any) -> tuple[list[float], Tensor]:
    """Losses of some steps, and all weights after them."""
    batches = torch.randn(STEPS, 6, 4, generator=torch.Generator().manual_seed(1))
    torch.manual_seed(7)
    how = Plan(STEPS, [{"params": [*net.parameters()]}], 1e-2, 0.01, lambda step: 1.0, **plan)
    losses = train({"net": net}, list(batches), contrastive(net), how, silent, loop)
    return losses, torch.cat([weights.detach().flatten() for weights in net.parameters()])


def with_settings(**values: Any) -> Loop:
    return Loop(PassSettings(**values))


@pytest.mark.parametrize("size", [1, 4, 6, 100])
def test_a_contrastive_gradient_does_not_depend_on_the_passes(size):
    """Prevents smaller passes from comparing an item with those of its own pass alone."""
    one, many = trained(module()), trained(module(), with_settings(items_at_once=size))
    assert many[0] == pytest.approx(one[0], rel=1e-5)
    assert torch.allclose(many[1], one[1], atol=1e-6)


def test_both_passes_of_a_part_draw_the_same_dropout():
    """Prevents gradients of other outputs than those whose loss was taken."""
    net = module(0.5).train()
    seen: list[Tensor] = []

    def represent(batch: Tensor) -> tuple[Tensor]:
        seen.append(net(batch))
        return (seen[-1],)

    passes = Passes(represent, lambda batch, outputs: outputs[0].square().sum(), Tensor.split)
    passes.backward(torch.ones(4, 4), 2, lambda value: value)
    assert torch.equal(seen[0], seen[2])
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[0], seen[1])


@pytest.mark.parametrize("size", [None, 2])
def test_bf16_learns_and_keeps_weights_in_full_precision(size):
    """Prevents a precision that is asked for and not used, and passes whose casts have lost their gradient."""
    full, exact = trained(module())
    rough, rounded = trained(module(), with_settings(precision="bf16", items_at_once=size))
    assert rounded.dtype == torch.float32
    assert rough != full
    assert rough == pytest.approx(full, rel=0.02)
    assert torch.allclose(rounded, exact, atol=0.02)
    assert trained(module())[0] == full  # the next training of the process is exact again


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has fp16")
def test_a_precision_that_the_machine_lacks_is_refused_before_the_labels():
    """Prevents hours of labelling before the message, and fp32 where fp16 is asked for."""
    with pytest.raises(DistillError, match=r"trainer\.precision 'fp16' is not available .* Set it to 'fp32'"):
        training.accelerator_for(TrainerSettings(precision="fp16"))


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({"schedule": "linear"}, [1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ({"schedule": "constant", "warm_up": 0.5}, [0, 1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1]),
        ({"schedule": "linear", "warm_up": 0.5}, [0, 1 / 4, 2 / 4, 3 / 4, 1, 3 / 4, 2 / 4, 1 / 4]),
        ({"schedule": "cosine"}, [(1 + np.cos(np.pi * step / 8)) / 2 for step in range(8)]),
        ({}, [1.0] * 8),
    ],
)
def test_the_schedule_is_the_one_that_is_named(settings, rates, monkeypatch):
    """Prevents a schedule or a warm-up that is asked for and not used."""
    seen, step = [], torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *arguments: Any, **more: Any) -> Any:
        seen.append(self.param_groups[0]["lr"] / 1e-2)
        return step(self, *arguments, **more)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    trained(module(), with_settings(**settings))
    assert seen == pytest.approx(rates)


def test_gradients_are_clipped_to_the_norm_of_the_settings_or_of_the_job():
    """Prevents a norm that is set and not used."""
    without = trained(module())[1]
    small = trained(module(), with_settings(max_norm=1e-9))[1]
    assert torch.allclose(trained(module(), max_norm=1e-9)[1], small)
    assert not torch.allclose(without, small, atol=1e-3)


def test_compiled_modules_end_as_before(monkeypatch):
    """Prevents weights under other names, and a module that stays compiled after its training."""
    monkeypatch.setattr(training, "COMPILER", "eager")
    net, called = module(), []
    compiled = net.compile
    monkeypatch.setattr(net, "compile", lambda **options: (called.append(options), compiled(**options)))
    losses, weights = trained(net, with_settings(compile=True), compiled=[net])
    assert called == [{"backend": "eager"}]
    assert losses == pytest.approx(trained(module())[0])
    assert [*net.state_dict()] == [*module().state_dict()]
    assert net._compiled_call_impl is None
    assert torch.allclose(weights, trained(module())[1], atol=1e-6)


def stopping(net: nn.Module, values: list[float], patience: int = 2) -> tuple[nn.Module, Validation]:
    """Early stopping on values that are given, one a validation, each after two steps."""
    left = iter(values)
    return net, Validation(2, patience, lambda: next(left))


def test_training_stops_and_the_best_weights_are_kept():
    """Prevents the weights of the last validation from standing for the best."""
    best = module()
    torch.manual_seed(7)
    expected = trained(best, validation=stopping(best, [0.1, 0.2, 0.2, 0.1]))
    assert len(expected[0]) == STEPS  # patience ends with the steps
    stopped = module()
    losses, weights = trained(stopped, validation=stopping(stopped, [0.1, 0.05, 0.1]))
    assert len(losses) == 6
    two = module()
    assert torch.equal(weights, trained(two, validation=stopping(two, [0.9, 0.1, 0.1]))[1])
    assert not torch.equal(weights, expected[1])
    assert stopped.training


def test_early_stopping_goes_on_with_its_count_and_its_best_weights(tmp_path):
    """Prevents a resumed training from forgetting the best weights, or from waiting longer."""
    values = [0.3, 0.2, 0.1, 0.4]
    whole = module()
    expected = trained(whole, validation=stopping(whole, values, patience=3))[1]
    cut, loop = module(), Loop(TrainerSettings(), Checkpoints(tmp_path / "steps", 1))

    def cut_off() -> float:
        if len([*(tmp_path / "steps").iterdir()]) and (tmp_path / "steps" / "step-5.pt").exists():
            raise KeyboardInterrupt
        return next(left)

    left = iter(values)
    with pytest.raises(KeyboardInterrupt):
        trained(cut, loop, validation=(cut, Validation(2, 3, cut_off)))
    resumed = module()
    found = trained(resumed, loop, validation=stopping(resumed, values[2:], patience=3))[1]
    assert torch.equal(found, expected)


def test_settings_of_before_keep_their_keys():
    """Prevents new settings from hiding the students that exist."""
    assert bearing(TrainerSettings()) == bearing(PldTrainer(save_every=7)) == []
    assert bearing(PldTrainer(precision="bf16", patience=2)) == [{"precision": "bf16", "patience": 2}]


SIDE, CLASSES = 8, ("a", "b")


def vit() -> Classifier:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = AutoConfig.for_model("vit", image_size=SIDE, patch_size=4, num_channels=1, num_labels=2, **sizes)
    return Classifier(AutoModelForImageClassification.from_config(config), ink_values)


def splits() -> Splits:
    images = np.random.default_rng(0).integers(0, 255, (8, SIDE, SIDE, 1), dtype=np.uint8)
    items = Items(images, np.arange(8) % 2)
    return Splits(items, items, items, CLASSES, 1)


def fit_pld(classifier: Classifier, **values: Any) -> None:
    logits = np.random.default_rng(1).normal(size=(8, 2)).astype(np.float32)
    settings = ModelSettings(epochs=2, batch=4)
    pld.fit(classifier, splits(), logits, "dist", settings, {}, 0, silent, Loop(PldTrainer(**values)))


def test_a_loss_over_the_batch_is_the_same_in_passes():
    """Prevents DIST's comparison of items with each other from being taken over a part of the batch."""
    whole, parts = vit(), vit()
    fit_pld(whole)
    fit_pld(parts, items_at_once=2)
    untrained, one, many = (predict.logits(each, splits().test) for each in (vit(), whole, parts))
    assert np.allclose(one, many, atol=1e-4)
    assert not np.allclose(one, untrained, atol=1e-2)


def test_passes_and_batch_normalisation_are_refused_together():
    """Prevents statistics of a part of the batch from standing for those of the whole."""
    sizes = {"embedding_size": 4, "hidden_sizes": [4], "depths": [1], "layer_type": "basic", "num_channels": 1}
    config = AutoConfig.for_model("resnet", num_labels=2, **sizes)
    resnet = Classifier(AutoModelForImageClassification.from_config(config), ink_values)
    with pytest.raises(DistillError, match="batch normalisation"):
        fit_pld(resnet, items_at_once=2)


def test_pld_stops_by_its_validation_items(monkeypatch):
    """Prevents early stopping that is set and not used."""
    asked: list[Callable[[], float]] = []
    monkeypatch.setattr(pld, "accuracy", lambda logits, labels: asked.append(logits) or 0.5)
    fit_pld(vit(), validate_every=1, patience=2)
    assert len(asked) == 3
    config = checked_settings({"trainer": {"validate_every": 5}}, "x.toml", Config)
    assert config.trainer.patience == 5
