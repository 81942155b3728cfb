"""The package against the yardstick, at full size x4 with `deep` parameters, in one run.

    python -m benchmarks.speed            ten samples of one 64 x 64 image, space() included; one training step on one
                                          crop of 160 x 160, optimiser and clipping included

Beside each time stands the floor: the arithmetic that remains over this machine's rate for a 3x3 convolution. bfloat16
is timed where it pays or --bfloat16 asks for it (without units for it, a machine emulates it at a tenth of float32's
speed).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from benchmarks.timing import Seconds, compare, convolution_rate, machine, ratios
from benchmarks.yardstick import Yardstick, full_x4, training_step
from ncsr.model import NCSR
from ncsr.pretrained.published import convert
from ncsr.runtime.device import Precision, bfloat16_pays, keep_freed_memory
from ncsr.runtime.timing import gigaflops
from ncsr.space.flow_space import FlowSpace

SAMPLES, LR_SIDE, CROP, CLIP = 10, 64, 160, 100.0
Rates = dict[Precision, float]


def package_model(yardstick: Yardstick, precision: Precision) -> NCSR:
    """The package's model with the yardstick's parameters."""
    model = convert(dict(yardstick.state_dict()), noise_steps=(0, 16, 16))
    model.precision = precision
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


@torch.no_grad()
def sampling(yardstick: Yardstick, repeats: int, rates: Rates) -> None:
    """Ten samples of one image: as many encoder runs on one side, one `space` on the other."""
    lr = torch.rand(1, 3, LR_SIDE, LR_SIDE, generator=torch.Generator().manual_seed(0))
    jobs: dict[str, Callable[[], object]] = {"yardstick": lambda: [yardstick.sample(lr, 0.8) for _ in range(SAMPLES)]}
    arithmetic = {}
    for precision in rates:
        model = package_model(yardstick, precision).requires_grad_(False)
        space = model.space(lr)
        assert isinstance(space, FlowSpace)
        jobs[precision] = lambda model=model: model.space(lr).sample(SAMPLES, 0.8, seed=0)  # type: ignore[misc]
        jobs[f"{precision}, space known"] = lambda space=space: space.sample(SAMPLES, 0.8, seed=0)  # type: ignore[misc]
        arithmetic[precision] = gigaflops(jobs[precision])
        print(f"{precision}: largest difference of one image {_difference(yardstick, space):.1e}")
    seconds = compare(jobs, repeats)
    slow = seconds["yardstick"]
    print(f"yardstick, {SAMPLES} samples: {slow}")
    for precision, rate in rates.items():
        _report(precision, slow, seconds[precision], arithmetic[precision], rate)
        share = seconds[f"{precision}, space known"].best / slow.best
        print(f"  one more sample, as the hundredth: {share:.1%} of the yardstick's")


def training(yardstick: Yardstick, repeats: int, rates: Rates) -> None:
    """One step on one crop, all parameters trained, optimiser and clipping included."""
    generator = torch.Generator().manual_seed(0)
    hr, lr = (torch.rand(1, 3, side, side, generator=generator) for side in (CROP, CROP // 4))
    noise = 0.03 * torch.randn(hr.shape, generator=generator)
    optimiser = torch.optim.Adam(yardstick.parameters(), lr=1e-6)
    jobs: dict[str, Callable[[], object]] = {
        "yardstick": lambda: training_step(yardstick, optimiser, hr, lr, noise, CLIP)
    }
    arithmetic = {}
    for precision in rates:
        model = package_model(yardstick, precision).train()
        own = torch.optim.Adam(model.parameters(), lr=1e-6, fused=True)
        jobs[precision] = lambda model=model, own=own: step(model, own, hr, lr, noise)  # type: ignore[misc]
        arithmetic[precision] = gigaflops(jobs[precision])
    seconds = compare(jobs, repeats)
    print(f"yardstick, one training step: {seconds['yardstick']}")
    for precision, rate in rates.items():
        _report(precision, seconds["yardstick"], seconds[precision], arithmetic[precision], rate)


def step(model: NCSR, optimiser: torch.optim.Optimizer, hr: Tensor, lr: Tensor, noise: Tensor) -> float:
    """A training step of the package; returns the loss."""
    loss = model(hr, lr, noise).mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimiser.step()
    return loss.item()


def _report(precision: str, slow: Seconds, fast: Seconds, arithmetic: float, rate: float) -> None:
    floor = arithmetic / rate
    print(f"package in {precision}: {fast}; {ratios(slow, fast)}")
    print(f"  floor {floor:.2f} s ({arithmetic:.0f} GFLOP at {rate:.0f} GFLOP/s): {fast.best / floor:.2f} times it")


def _difference(yardstick: Yardstick, space: FlowSpace) -> float:
    """The largest difference between a sample's image and the yardstick's of the same latents."""
    shapes = space.flow.latent_shapes(4 * LR_SIDE, 4 * LR_SIDE)
    generator = torch.Generator().manual_seed(0)
    latents = [0.8 * torch.randn(1, *shape, generator=generator) for shape in shapes]
    return (space.decode_folded(latents) - yardstick.decode(latents, space.lr)[0]).abs().max().item()


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true", help="time bfloat16 also where it does not pay")
    options = parser.parse_args()
    keep_freed_memory()
    precisions: list[Precision] = ["float32"]
    if options.bfloat16 or bfloat16_pays(torch.device("cpu")):
        precisions.append("bfloat16")
    rates = {p: convolution_rate(getattr(torch, p)) for p in precisions}
    print(
        machine() + "; 3x3 convolution 64 -> 64: " + ", ".join(f"{p} {rate:.0f} GFLOP/s" for p, rate in rates.items())
    )
    yardstick = full_x4()
    sampling(yardstick, options.repeats, rates)
    training(yardstick, options.repeats, rates)


if __name__ == "__main__":
    main()
