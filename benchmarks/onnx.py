"""The exported sampler in onnxruntime beside the package, float32 on this CPU, in one run.

    python -m benchmarks.onnx [--model x4-small] [--side 64] [-n 10]

onnxruntime runs encoder and flow in one call, so `space()` counts on both sides, for one sample and for n.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import onnxruntime
import torch

import ncsr
from benchmarks.timing import compare, machine, ratios
from ncsr.pretrained.onnx import draw_latents, export
from ncsr.runtime.device import keep_freed_memory


@torch.no_grad()
def main() -> None:
    """Print the times, their ratios and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="x4-small")
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("-n", "--samples", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    keep_freed_memory()
    model, side = ncsr.load(options.model, "cpu", "float32"), options.side
    generator = torch.Generator().manual_seed(0)
    lr = torch.rand(1, 3, side, side, generator=generator)
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = torch.get_num_threads()
    print(f"{machine()}, onnxruntime {onnxruntime.__version__}; {options.model}, {side} x {side} LR pixels")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        print(f"largest difference when checked: {export(model, path):.1e}; {path.stat().st_size / 1e6:.1f} MB")
        session = onnxruntime.InferenceSession(str(path), threads, providers=["CPUExecutionProvider"])
    for samples in sorted({1, options.samples}):
        latents = draw_latents(model, samples, side, side, generator)
        named = {"lr": lr.numpy(), **{f"latent_{i}": z.numpy() for i, z in enumerate(latents)}}
        jobs = {
            "onnxruntime": lambda named=named: session.run(None, named),  # type: ignore[misc]
            "ncsr": lambda n=samples: model.space(lr).sample(n, seed=0),  # type: ignore[misc]
        }
        seconds = compare(jobs, options.repeats)
        for name, taken in seconds.items():
            print(f"{samples} samples, {name}: {taken}")
        print(f"{samples} samples, ncsr over onnxruntime: {ratios(seconds['onnxruntime'], seconds['ncsr'])}")


if __name__ == "__main__":
    main()
