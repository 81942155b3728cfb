"""LPIPS of ten samples of one 1024 x 768 photograph: its features computed once, against pair by pair.

    python -m benchmarks.lpips

Ten pairs are twenty passes of the network, ten samples and one photograph eleven: 20 / 11 = 1.8 times is the limit.
The peak memory is printed as one photograph after the other is measured, and before that the time of one sample of
480 x 320 pixels on one core.
"""

from __future__ import annotations

import argparse
import resource

import torch
from torch import Tensor

from benchmarks.timing import compare, machine, ratios
from ncsr.metrics import LPIPS, diversity, ntire_lpips

SAMPLES, HEIGHT, WIDTH = 10, 768, 1024


def images(seed: int) -> tuple[Tensor, Tensor]:
    """Ten samples and their photograph, uint8."""
    generator = torch.Generator().manual_seed(seed)
    hr = torch.randint(256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    samples = torch.randint(256, (SAMPLES, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    return samples, hr


def speed(repeats: int) -> None:
    """Time both ways; the figures must be the same."""
    lpips, (samples, hr) = LPIPS(), images(0)

    def at_once() -> Tensor:
        return lpips.reference(hr).compare(samples).maps

    def pair_by_pair() -> Tensor:
        return torch.cat([lpips.reference(hr).compare(sample[None]).maps for sample in samples])

    assert torch.equal(at_once(), pair_by_pair())
    seconds = compare({"pairs": pair_by_pair, "once": at_once}, repeats)
    print(f"pair by pair: {seconds['pairs']}")
    print(f"photograph once: {seconds['once']}; {ratios(seconds['pairs'], seconds['once'])}")


def one_core(repeats: int) -> None:
    """Time one sample of BSD100's size on one core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    lpips, (samples, hr) = LPIPS(), images(0)
    reference, sample = lpips.reference(hr[:, :320, :480]), samples[:1, :, :320, :480]
    seconds = compare({"sample": lambda: reference.compare(sample)}, repeats)
    print(f"one sample of 480 x 320 on one core: {seconds['sample']}")
    torch.set_num_threads(threads)


def memory(photographs: int) -> None:
    """Measure photographs one after the other, as an evaluation does, and print the peak memory on the way."""
    lpips = LPIPS()
    for i in range(photographs):
        samples, hr = images(i)
        diversity(ntire_lpips(lpips, samples, hr).maps)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"photograph {i + 1}: {peak:.0f} MB at most")


def main() -> None:
    """Print the ratio, then the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--photographs", type=int, default=5, help="how many to watch the memory for")
    options = parser.parse_args()
    print(machine())
    one_core(5 * options.repeats)
    speed(options.repeats)
    memory(options.photographs)


if __name__ == "__main__":
    main()
