"""A model that reads images and text, called as if it read text alone."""

from typing import Any

import torch
from torch import Tensor, nn

from harness.ledger.errors import DataError


class ReadsImages(nn.Module):
    """Takes pixel_values (images, …) and `images`, the number of the image that each row of input_ids is about.

    An image goes through the tower once, however many candidates are read after it. Tower and projector are frozen in
    every method, so no gradient is taken through them.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self._model = model

    def forward(self, *, pixel_values: Tensor, images: Tensor, **inputs: Any) -> Any:
        """Raises DataError for inputs without token_type_ids: transformers would read the image's tokens causally."""
        if "token_type_ids" not in inputs:
            raise DataError(
                "the batch has no token_type_ids, and an image's tokens would be read as if they were text."
            )
        with torch.no_grad():
            seen = self._model.get_image_features(pixel_values, return_dict=True)
        seen.pooler_output = seen.pooler_output[images]
        return self._model(**inputs, mm_encoder_outputs={"image": seen})

    def generate(self, **inputs: Any) -> Tensor:
        return self._model.generate(**inputs)
