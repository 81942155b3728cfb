"""Fit a trained flow to another encoder: python examples/refit_flow.py x4 rrdb/ photos/ model/ --recipe x4.

A flow sees LR images through the first convolutions of its injectors and LR couplings alone. Of all convolutions of the
new encoder's features, this takes those that come nearest (least squares, over crops of photographs) to what the old
ones make of the old features. Training goes on from there, `ncsr train x4 --init model/`, and not from nothing.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import ncsr
from ncsr.data.loader import make_batch
from ncsr.flow.level import Level
from ncsr.flow.subnet import NormedConv
from ncsr.images import find_photos, read_eight_bit
from ncsr.training.objective import noisy
from ncsr.training.recipe import load_recipe

_RIDGE = 1e-3  # of every feature's own energy, added to it: what the crops do not tell stays small
_ROWS = 5000  # pixels of each level that a step takes


def features_of_levels(model: ncsr.NCSR, lr: Tensor) -> list[Tensor]:
    """The features that each level sees, (B, C, H, W) at its size, finest first."""
    assert model.flow is not None
    pairs = model.flow.feature_pairs(model.flow.features(model.encoder, lr))
    return [torch.cat((up, F.interpolate(stack, up.shape[-2:], mode="nearest")), 1) for up, stack in pairs]


def first_convolutions(level: Level) -> list[NormedConv]:
    """Those of a level's subnets that see features."""
    return [layer.subnet.first for step in level.steps for layer in (step.injector, step.coupling)]


def equations(level: Level, old: Tensor, new: Tensor) -> tuple[Tensor, Tensor]:
    """The new features around random pixels, with a one, (P, 9 C + 1), and what is wanted there, (P, outputs)."""
    weight = torch.cat([conv.weight[:, conv.inputs :] for conv in first_convolutions(level)])
    wanted = F.conv2d(old, weight, padding=1).flatten(2).permute(0, 2, 1).flatten(0, 1)
    around = F.unfold(new, 3, padding=1).permute(0, 2, 1).flatten(0, 1)
    chosen = torch.randperm(len(around))[:_ROWS]
    return F.pad(around[chosen], (0, 1), value=1), wanted[chosen]


def write(level: Level, solution: Tensor) -> None:
    """Put a solution (outputs, 9 C + 1) into the first convolutions; its constant goes into the actnorms after them."""
    convolutions = first_convolutions(level)
    for conv, rows in zip(convolutions, solution.float().chunk(len(convolutions)), strict=True):
        conv.weight[:, conv.inputs :] = rows[:, :-1].view_as(conv.weight[:, conv.inputs :])
        conv.actnorm.bias += rows[:, -1]


@torch.no_grad()
def main() -> None:
    """Write the model of the recipe, with the flow of one model and the encoder of another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("flow", help="model whose flow is taken")
    parser.add_argument("encoder", help="model whose encoder is taken")
    parser.add_argument("photos", type=Path, help="folder of photographs, each at least as large as a crop")
    parser.add_argument("output", type=Path, help="folder of the model that comes out")
    parser.add_argument("--recipe", default="x4", help="of the model that comes out: that encoder, that flow")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--crop", type=int, default=128)
    options = parser.parse_args()

    torch.manual_seed(0)
    recipe = load_recipe(options.recipe, {"batch": options.batch, "crop": options.crop})
    before, after = ncsr.load(options.flow, "cpu", "float32"), ncsr.NCSR(recipe.model, "float32").eval()
    assert before.flow is not None
    assert after.flow is not None
    after.encoder.load_state_dict(ncsr.load(options.encoder, "cpu").encoder.state_dict())
    after.flow.load_state_dict(before.flow.state_dict())
    photos = [read_eight_bit(path) for path in find_photos(options.photos)]
    grams, crosses = ([torch.zeros(())] * len(before.flow.levels) for _ in range(2))
    for step in range(options.steps):
        batch = make_batch(photos, recipe, recipe.model.scale, step, range(recipe.batch))
        _, lr, _ = noisy(batch, recipe)  # as in training (paper, section 3.3)
        seen = zip(features_of_levels(before, lr), features_of_levels(after, lr), strict=True)
        for i, (level, (old, new)) in enumerate(zip(before.flow.levels, seen, strict=True)):
            x, y = equations(level, old, new)
            grams[i] = (x.T @ x).double() + grams[i]
            crosses[i] = (x.T @ y).double() + crosses[i]
        print(f"step {step + 1}", flush=True)
    for level, gram, cross in zip(after.flow.levels, grams, crosses, strict=True):
        energy = gram.diagonal()
        ridge = (_RIDGE * energy + 1e-6 * energy.mean()).diag()
        write(level, torch.linalg.solve(gram + ridge, cross).T)
    after.save(options.output)


if __name__ == "__main__":
    main()
