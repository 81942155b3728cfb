"""What the tests of the evaluation share: a photograph and samples of it."""

from __future__ import annotations

from pathlib import Path

import torch

from ncsr.evaluation.pairs import Pair, PhotographFiles
from ncsr.ops.resize import imresize
from tests.conftest import scene8


def made_pair(seed: int = 0) -> Pair:
    hr = torch.from_numpy(scene8(64, 72, seed=seed)).permute(2, 0, 1).contiguous()
    return Pair(PhotographFiles(0, Path("made.png")), hr, imresize(hr, 0.25), None)


def made_samples(pair: Pair, n: int = 3, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    noise = 0.05 * torch.randn(n, *pair.hr.shape, generator=generator)
    return (pair.hr / 255 + noise).clamp(0, 1)
