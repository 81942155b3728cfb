"""Images resized row by row: equal to what is resized as a whole."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ncsr.ops import resize_rows as module
from ncsr.ops.resize import imresize, resize_matrix
from ncsr.ops.resize_rows import resize_rows


def _image(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("block", [7, 128])
@pytest.mark.parametrize("scale", [0.25, 0.7, 2.5])
def test_in_parts_as_in_one(monkeypatch: pytest.MonkeyPatch, scale: float, block: int) -> None:
    """With the same scale along both axes; sides whose results are whole, as MATLAB's two forms then agree."""
    monkeypatch.setattr(module, "_BLOCK", block)
    image = _image(60, 40)
    asked = []

    def rows(first: int, last: int) -> Tensor:
        asked.append(last - first)
        return image[:, first:last]

    whole = imresize(image, scale)
    resized = resize_rows(rows, (60, 40), (whole.shape[1], whole.shape[2]))
    parts = [resized(first, min(first + 11, whole.shape[1])) for first in range(0, whole.shape[1], 11)]
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=0, atol=1e-12)
    assert max(asked) <= 11 / scale + 4 / min(scale, 1) + 3


def test_axes_have_scales_of_their_own() -> None:
    image = _image(12, 20)
    rows, columns = resize_matrix(12, 9 / 12), resize_matrix(20, 7 / 20)
    resized = resize_rows(lambda first, last: image[:, first:last], (12, 20), (9, 7))(0, 9)
    torch.testing.assert_close(resized, rows @ image @ columns.T, rtol=0, atol=1e-12)


def test_eight_bits_are_the_protocols() -> None:
    """Rounded after each pass: where values are ties, too."""
    image = (_image(96, 128) * 255).round()
    image[:, :40] = image[:, :40] > 127
    image[:, 40:60] *= image[:, 40:60] > 127
    lr = resize_rows(lambda first, last: image[:, first:last] / 255, (96, 128), (24, 32), 255)(0, 24)
    assert torch.equal((lr * 255).round(), imresize(image.byte(), 0.25).double())
