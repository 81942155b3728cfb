"""Train on a folder of photographs in a loop of your own: python examples/training_loop.py photos/ model/ --steps 200.

`ncsr train` does more: it resumes, validates, averages, runs on several devices. This is the least that learns.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import ncsr
from ncsr.images import find_photos, read_eight_bit
from ncsr.ops.resize import imresize


def crops(photos: list[torch.Tensor], count: int, side: int) -> torch.Tensor:
    """Random squares of random photographs: (count, 3, side, side) uint8."""
    found = []
    for i in torch.randint(len(photos), (count,)).tolist():
        _, height, width = photos[i].shape
        top, left = (int(torch.randint(extent - side + 1, ())) for extent in (height, width))
        found.append(photos[i][:, top : top + side, left : left + side])
    return torch.stack(found)


def main() -> None:
    """Go on from a bundled model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="folder of photographs, each at least as large as a crop")
    parser.add_argument("output", type=Path, help="folder of the model that comes out")
    parser.add_argument("--init", default="x4-small", help="model to start from")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=96)
    options = parser.parse_args()

    torch.manual_seed(0)
    model = ncsr.load(options.init).train().requires_grad_(True)
    scale, largest = model.config.scale, 0.05 if model.config.scale == 4 else 0.03
    photos = [read_eight_bit(path) for path in find_photos(options.photos)]
    optimiser = torch.optim.Adam(model.parameters(), 1e-4, betas=(0.9, 0.99))
    for step in range(options.steps):
        hr8 = crops(photos, options.batch, options.crop)
        hr, lr = hr8.to(model.device) / 255, imresize(hr8, 1 / scale).to(model.device) / 255
        noise = torch.rand(len(hr), 1, 1, 1, device=hr.device) * largest * torch.randn_like(hr)
        loss = model(hr + noise, lr + imresize(noise, 1 / scale), noise).mean()  # bits per dimension
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 20)
        optimiser.step()
        print(f"step {step + 1}: {loss.item():.3f} bits per dimension", flush=True)
    model.eval().save(options.output)


if __name__ == "__main__":
    main()
