"""Consistent samples: how consistent they are, and how much they changed."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

import ncsr
from ncsr.images import photo_from_array, source_of
from ncsr.metrics import lr_psnr
from ncsr.upscaling.canvas import canvas_from_rows
from ncsr.upscaling.image import enlarge
from ncsr.upscaling.tiling import SampleRequest
from tests.conftest import scene8


def test_consistency_is_measured(tiny_model: ncsr.NCSR) -> None:
    array, request = scene8(10, 12), SampleRequest(2, 0.8, 3, consistent=True)
    (made,) = enlarge([source_of(photo_from_array(array))], tiny_model, request, 16, [np.uint8])
    assert made.projection is not None
    for k in range(2):
        drawn = partial(made.canvas.rows, k)
        written = canvas_from_rows(made.rows(k), made.canvas.shape[1:], np.uint8)
        psnr, change = made.projection.measure(drawn, partial(written.rows, 0))
        pixels = torch.from_numpy(written.pixels(0)).permute(2, 0, 1)
        assert psnr == pytest.approx(lr_psnr(pixels, torch.from_numpy(array).permute(2, 0, 1)).item())
        assert psnr > 60
        assert change == pytest.approx((pixels - drawn(0, 40) * 255).abs().mean().item(), rel=0.05)
