"""Records the tensors over the vocabulary that a computation makes."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import ref

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class VocabularyTensors(TorchDispatchMode):
    """Counts rows of tensors whose last dimension is the vocabulary: logits, their probabilities, noise.

    Views are not counted, such as the head's weights, transposed.

    Attributes:
        most_rows: rows of the largest one.
        most_rows_alive: rows of all that were in memory at once.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self._vocabulary, self._made = vocabulary, list[ref[Tensor]]()
        self.most_rows = self.most_rows_alive = 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(outputs):
            if isinstance(tensor, Tensor) and tensor.shape[-1:] == (self._vocabulary,) and not tensor._is_view():
                self._made.append(ref(tensor))
                self.most_rows = max(self.most_rows, self._rows(tensor))
        alive = [tensor for made in self._made if (tensor := made()) is not None]
        self.most_rows_alive = max(self.most_rows_alive, sum(map(self._rows, alive)))
        return outputs

    def _rows(self, tensor: Tensor) -> int:
        return tensor.numel() // self._vocabulary
