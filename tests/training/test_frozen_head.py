"""Log-probs under a frozen head in chunks: values and gradients of log_softmax, and no large tensor."""

from types import SimpleNamespace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import CohereConfig, FalconH1Config, Gemma2Config, GraniteConfig, LlamaConfig
from trl.kernels import ChunkedLogProbFunction

from cyclealign.training import frozen_head, scoring
from cyclealign.training.frozen_head import frozen_head_logprobs
from cyclealign.training.scoring import head_logprobs, logit_scale

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1")


def inputs(tokens=13, hidden=6, vocabulary=40, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(tokens, hidden, generator=generator, dtype=dtype)
    weight = torch.randn(vocabulary, hidden, generator=generator, dtype=dtype)
    bias = torch.randn(vocabulary, generator=generator, dtype=dtype)
    return states.requires_grad_(), weight, bias, torch.arange(tokens) * 3 % vocabulary


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("softcap", "scale"), [(None, 1.0), (2.0, 1.0), (2.0, 0.5), (None, 3.0)])
def test_values_and_gradient_are_those_of_log_softmax(monkeypatch, with_bias, softcap, scale):
    """Prevents a gradient that leaves out the soft-capping, the scale or the last chunk."""
    monkeypatch.setattr(frozen_head, "CHUNK_ELEMENTS", 4 * 40)
    states, weight, bias, labels = inputs()
    bias = bias if with_bias else None
    values = frozen_head_logprobs(states, weight, bias, labels, softcap, scale, OUTPUTS)
    slopes = torch.linspace(-1, 1, 13, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((values.log_probs * slopes).sum(), states)
    logits = (states @ weight.T + (0 if bias is None else bias)) * scale
    logits = logits if softcap is None else softcap * torch.tanh(logits / softcap)
    log_softmax = logits.log_softmax(-1)
    log_probs = log_softmax[torch.arange(13), labels]
    (expected,) = torch.autograd.grad((log_probs * slopes).sum(), states)
    assert torch.allclose(values.log_probs, log_probs, rtol=0, atol=1e-12)
    assert torch.allclose(gradient, expected, rtol=0, atol=1e-12)
    assert torch.allclose(values.entropy, -(log_softmax.exp() * log_softmax).sum(-1))
    assert torch.allclose(values.mean_logits, logits.mean(-1))
    assert torch.equal(values.is_top1, logits.argmax(-1) == labels)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_are_those_of_the_library(dtype):
    """Prevents another precision than that of TRL's function, which is used for trained heads."""
    states, weight, bias, labels = inputs(vocabulary=300, dtype=dtype)
    ours = frozen_head_logprobs(states, weight, bias, labels, 5.0, 0.5, OUTPUTS)
    theirs = ChunkedLogProbFunction.apply(states, weight, bias, labels, 1.0, 64, 5.0, 0.5, OUTPUTS)
    atol = 1e-5 if dtype == torch.float32 else 1e-2
    for one, other in zip(ours, theirs, strict=True):
        assert (one is None) == (other is None)
        assert one is None or (one.dtype == other.dtype and torch.allclose(one.float(), other.float(), atol=atol))
    gradients = [torch.autograd.grad(values[0].sum(), states)[0] for values in (ours, theirs)]
    assert gradients[0].dtype == dtype
    assert torch.allclose(*gradients, atol=10 * atol, rtol=1e-2)


def test_no_tokens_is_no_failure():
    """Prevents a pass whose answers are all thoughts from ending the training."""
    states, weight, bias, labels = inputs(tokens=0)
    values = frozen_head_logprobs(states, weight, bias, labels, None, 1.0)
    values.log_probs.sum().backward()
    assert states.grad.shape == (0, 6)


def test_without_a_gradient_none_is_computed():
    """Prevents the reference's pass from costing a second product with the head."""
    states, weight, bias, labels = inputs()
    products = []

    class Count(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            products.append(func) if "mm" in str(func) else None
            return func(*args, **(kwargs or {}))

    with Count():
        frozen_head_logprobs(states, weight, bias, labels)
        number = len(products)
        with torch.no_grad():
            frozen_head_logprobs(states.detach(), weight, bias, labels)
    assert (number, len(products) - number) == (2, 1)


class Largest(TorchDispatchMode):
    """Record the number of elements of the largest tensor that an operation returns."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        outputs = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(outputs) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return outputs


@pytest.mark.parametrize("trained", [False, True])
def test_no_tensor_of_tokens_and_vocabulary_exceeds_a_chunk(monkeypatch, trained):
    """Prevents logits of all tokens, which are larger than all else in a training: forward or backward."""
    chunk, vocabulary, hidden, tokens = 8000, 1000, 4, 64
    for module in (frozen_head, scoring):
        monkeypatch.setattr(module, "CHUNK_ELEMENTS", chunk)
    head = torch.nn.Linear(hidden, vocabulary, bias=False).requires_grad_(trained)
    config = SimpleNamespace(get_text_config=LlamaConfig)
    model = SimpleNamespace(config=config, get_output_embeddings=lambda: head)
    states = torch.randn(tokens, hidden, requires_grad=True)
    labels = torch.arange(tokens)
    with Largest() as largest:
        log_probs = head_logprobs(model, states, labels, ("log_probs",)).log_probs
        log_probs.sum().backward()
    assert max(head.weight.numel(), chunk // 2) <= largest.elements <= chunk
    whole = torch.nn.functional.linear(states, head.weight).log_softmax(-1)[labels, labels]
    assert torch.allclose(log_probs, whole, atol=1e-5)
    assert (head.weight.grad is not None) == trained


def test_scales_of_logits_are_read_as_the_library_reads_them():
    """Prevents log-probs of other logits than the model's own."""
    assert logit_scale(LlamaConfig()) == 1.0
    assert logit_scale(Gemma2Config()) == 1.0
    assert logit_scale(GraniteConfig(logits_scaling=8.0)) == 1 / 8
    assert logit_scale(CohereConfig(logit_scale=0.25)) == 0.25
    assert logit_scale(FalconH1Config(lm_head_multiplier=0.5)) == 0.5
