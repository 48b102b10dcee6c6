"""Image preprocessing of a model: scaling and normalisation."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoImageProcessor, CLIPImageProcessorPil

from cyclealign.distill.models.encoders import load_failure
from cyclealign.errors import DistillError
from cyclealign.policy.device import device


@dataclass(frozen=True)
class Pixels:
    """Preprocessing of square images: each channel, in 0..1, minus its mean, divided by its standard deviation."""

    side: int
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    def of(self, images_BHWC: NDArray[np.uint8]) -> Tensor:
        """Convert images in 0..255 to the model's input, shape (B, 3, H, W)."""
        pixels_BCHW = torch.from_numpy(images_BHWC).to(device()).permute(0, 3, 1, 2).float()
        mean_C11 = torch.tensor(self.mean, device=pixels_BCHW.device).view(-1, 1, 1)
        deviation_C11 = torch.tensor(self.deviation, device=pixels_BCHW.device).view(-1, 1, 1)
        return pixels_BCHW / (255 * deviation_C11) - mean_C11 / deviation_C11

    def save(self, folder: Path) -> None:
        """Write an image processor that converts an image file in the same way."""
        CLIPImageProcessorPil(
            size={"height": self.side, "width": self.side},
            do_center_crop=False,
            image_mean=list(self.mean),
            image_std=list(self.deviation),
        ).save_pretrained(folder)


def pixels_of(model: str, side: int) -> Pixels:
    """Return the preprocessing of a model in a folder or on the hub, from its image processor.

    Raises:
        DistillError: the image processor is missing or cannot be loaded.
    """
    try:
        processor = AutoImageProcessor.from_pretrained(model, backend="pil", trust_remote_code=False)
    except (OSError, ValueError, ImportError) as error:
        raise DistillError(
            f"The image processor of '{model}' (preprocessor_config.json) cannot be loaded, so it is unknown how its "
            f"pixels are normalised: {load_failure(error)}"
        ) from error
    if not getattr(processor, "do_normalize", True):
        return Pixels(side, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    return Pixels(side, tuple(processor.image_mean), tuple(processor.image_std))
