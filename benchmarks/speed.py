"""The package against the yardstick, at full size x4 with `deep` parameters, in one run.

    python -m benchmarks.speed            ten samples of one 64 x 64 image, space() included; one training step on a
    160 x 160 crop

Every ratio is printed with the arithmetic's share where it helps; bfloat16 is timed where asked for by --bfloat16
(without units for it, a machine emulates it at a tenth of float32's speed).
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from benchmarks.timing import compare, convolution_rate, machine, ratios
from benchmarks.yardstick import Yardstick, full_x4, training_step
from ncsr.device import Precision, bfloat16_pays
from ncsr.model import NCSR
from ncsr.reference import convert
from ncsr.space import FlowSpace

SAMPLES, LR_SIDE, CROP, CLIP = 10, 64, 160, 100.0


def package_model(yardstick: Yardstick, precision: Precision) -> NCSR:
    """The package's model with the yardstick's parameters."""
    model = convert(dict(yardstick.state_dict()), noise_steps=(0, 16, 16))
    model.precision = precision
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def sampling(yardstick: Yardstick, repeats: int, precisions: list[Precision]) -> None:
    """Ten samples of one image: as many encoder runs on one side, one `space` on the other."""
    lr = torch.rand(1, 3, LR_SIDE, LR_SIDE, generator=torch.Generator().manual_seed(0))
    jobs = {"yardstick": lambda: [yardstick.sample(lr, 0.8) for _ in range(SAMPLES)]}
    for precision in precisions:
        model = package_model(yardstick, precision).requires_grad_(False)
        jobs[precision] = lambda model=model: model.space(lr).sample(SAMPLES, 0.8, seed=0)  # type: ignore[misc]
        space = model.space(lr)
        assert isinstance(space, FlowSpace)
        shapes = space.flow.latent_shapes(4 * LR_SIDE, 4 * LR_SIDE)
        latents = [
            0.8 * torch.randn(1, *shape, generator=torch.Generator().manual_seed(i)) for i, shape in enumerate(shapes)
        ]
        with torch.no_grad():
            plain, _ = yardstick.decode(latents, lr)
        print(f"{precision}: largest difference of one image {_difference(space.decode(latents), plain):.1e}")
    seconds = compare(jobs, repeats)
    print(f"yardstick, {SAMPLES} samples: {seconds['yardstick']}")
    for precision in precisions:
        print(f"package in {precision}: {seconds[precision]}; {ratios(seconds['yardstick'], seconds[precision])}")


def training(yardstick: Yardstick, repeats: int, precisions: list[Precision]) -> None:
    """One step on one crop, all parameters trained, optimiser and clipping included."""
    generator = torch.Generator().manual_seed(0)
    hr, lr = (
        torch.rand(1, 3, CROP, CROP, generator=generator),
        torch.rand(1, 3, CROP // 4, CROP // 4, generator=generator),
    )
    noise = 0.03 * torch.randn(hr.shape, generator=generator)
    optimiser = torch.optim.Adam(yardstick.parameters(), lr=1e-6)
    jobs = {"yardstick": lambda: training_step(yardstick, optimiser, hr, lr, noise, CLIP)}
    for precision in precisions:
        model = package_model(yardstick, precision).train()
        own = torch.optim.Adam(model.parameters(), lr=1e-6)
        jobs[precision] = lambda model=model, own=own: _step(model, own, hr, lr, noise)  # type: ignore[misc]
    seconds = compare(jobs, repeats)
    print(f"yardstick, one training step: {seconds['yardstick']}")
    for precision in precisions:
        print(f"package in {precision}: {seconds[precision]}; {ratios(seconds['yardstick'], seconds[precision])}")


def _step(model: NCSR, optimiser: torch.optim.Optimizer, hr: Tensor, lr: Tensor, noise: Tensor) -> float:
    loss = model(hr, lr, noise).mean()
    optimiser.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    optimiser.step()
    return loss.item()


def _difference(a: Tensor, b: Tensor) -> float:
    return (a - b).abs().max().item()


def main() -> None:
    """Print all ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bfloat16", action="store_true", help="time bfloat16 also where it does not pay")
    options = parser.parse_args()
    precisions: list[Precision] = ["float32"]
    if options.bfloat16 or bfloat16_pays(torch.device("cpu")):
        precisions.append("bfloat16")
    rates = {p: convolution_rate(getattr(torch, p), 64) for p in precisions}
    print(
        machine() + "; 3x3 convolution 64 -> 64: " + ", ".join(f"{p} {rate:.0f} GFLOP/s" for p, rate in rates.items())
    )
    yardstick = full_x4()
    sampling(yardstick, options.repeats, precisions)
    training(yardstick, options.repeats, precisions)


if __name__ == "__main__":
    main()
