"""`ncsr bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.options import Device, ModelName, Samples, load_model
from ncsr.errors import InputError

if TYPE_CHECKING:
    from ncsr.model import NCSR
    from ncsr.runtime.device import Precision


def bench(
    model: ModelName = None,
    samples: Samples = 10,
    side: Annotated[int, typer.Option("--side", help="Side of the square input, in pixels.")] = 64,
    device: Device = "auto",
) -> None:
    """Measure how fast a model enlarges here, in float32 and bfloat16, and how fast this machine could at best."""
    import torch

    from ncsr.ops.precision import float32_products
    from ncsr.pretrained.load import default_model
    from ncsr.runtime.device import keep_freed_memory
    from ncsr.runtime.timing import convolution_rate, machine

    if samples < 1 or side < 4:
        raise InputError(f"needs at least 1 sample of an image of at least 4 pixels, got -n {samples} --side {side}")
    network = load_model(model, None, device, "auto")
    keep_freed_memory()
    large = side * network.config.scale
    automatic = "bfloat16" if network.low_precision(sampling=True) else "float32"
    print(machine(network.device))
    print(f"{model or default_model(4)}: {side} x {side} to {large} x {large}; precision auto is {automatic} here")
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    with float32_products():
        rates = [convolution_rate(getattr(torch, precision), device=network.device) for precision in precisions]
    for precision, rate in zip(precisions, rates, strict=True):
        print(f"{precision}, 3x3 convolutions at {rate:.0f} GFLOP/s")
        network.precision = precision
        with torch.no_grad():
            _bench(network, samples if rate >= rates[0] else 1, side, rate)


def _bench(network: NCSR, samples: int, side: int, rate: float) -> None:
    import torch

    from ncsr.runtime.timing import gigaflops, seconds_of

    lr = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(network.device)
    space = network.space(lr)
    jobs = {
        "the image's space": (lambda: network.space(lr), 1),
        f"one of {samples} samples": (lambda: space.sample(samples, seed=0), samples),
    }
    total = 0.0
    for name, (job, count) in jobs.items():
        floor = gigaflops(job) / rate / count
        seconds = seconds_of(job, network.device) / count
        total += seconds * count
        share = f", {seconds / floor:.1f} times the floor of {floor:.3f} s" if floor else ""
        print(f"  {name}: {seconds:.3f} s{share}")
    print(f"  in all: {samples / total:.2f} samples per second")
