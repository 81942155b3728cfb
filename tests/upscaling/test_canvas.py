"""Canvases: the same in memory and in a file, and clear about a full disk."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ncsr import InputError
from ncsr.upscaling.canvas import Canvas, canvas_from_rows


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("in_file", [False, True])
def test_what_is_put_is_found(tmp_path: Path, dtype: str, in_file: bool) -> None:
    path = tmp_path / "pixels" if in_file else None
    canvas = Canvas((2, 5, 7, 3), dtype, path)
    for k in range(2):
        canvas.put(k, 0, 0, torch.zeros(3, 5, 7))
    values = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    canvas.put(1, 3, 2, values)
    expected = torch.zeros(3, 5, 7)
    expected[:, 3:5, 2:6] = values.clamp(0, 1)
    step = {"uint8": 255, "uint16": 65535, "float32": 1e9}[dtype]
    torch.testing.assert_close(canvas.rows(1, 0, 5), expected, rtol=0, atol=0.501 / step)
    assert torch.equal(canvas.rows(1, 3, 4), canvas.rows(1, 0, 5)[:, 3:4])
    assert not canvas.rows(0, 0, 5).any()
    if in_file:
        again = Canvas((2, 5, 7, 3), dtype, path)  # another process
        assert torch.equal(again.rows(1, 0, 5), canvas.rows(1, 0, 5))


def test_pixels_of_another_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    levels = np.arange(600 * 3, dtype=np.int64).reshape(600, 1, 3) * 36
    canvas = Canvas((1, 600, 1, 3), np.uint16, tmp_path / "pixels")
    canvas.put(0, 0, 0, torch.from_numpy(levels / 65535).permute(2, 0, 1))
    np.testing.assert_array_equal(canvas.pixels(0), levels)
    monkeypatch.setattr("ncsr.ops.projection._STRIP", 64)
    copied = canvas_from_rows(partial(canvas.rows, 0), (600, 1, 3), np.uint8)
    np.testing.assert_array_equal(copied.pixels(0), (levels / 257).round())


def test_a_full_disk_is_said_before_anything_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(InputError, match=r"scratch file .* of 3 MiB: No space left on device; make room, or"):
        Canvas((1, 1024, 1024, 3), np.uint8, tmp_path / "pixels")
    assert os.listdir(tmp_path) == []
