"""The lines of `ncsr upscale --json`: one for every image, and one for a photograph that failed or was skipped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator

from ncsr.upscaling.job import Job, UpscaleResult


def json_lines(result: UpscaleResult, job: Job) -> Iterator[str]:
    """The lines for a photograph: its images, or that it was skipped, or its error."""
    photograph, request = str(result.path), job.request
    if result.failure is not None:
        yield json.dumps({"photograph": photograph, "error": result.failure})
    if result.skipped:
        yield json.dumps({"photograph": photograph, "skipped": True})
    pictures = ["sample"] * request.samples + ["standard deviation"] * job.std + ["contact sheet"] * job.sheet
    for k, (path, picture) in enumerate(zip(result.paths, pictures, strict=False)):  # sidecars come after them
        sample = k if picture == "sample" else None
        psnr = result.lr_psnr[k] if sample is not None and result.lr_psnr else math.inf
        line = {
            "path": str(path),
            "photograph": photograph,
            "picture": picture,
            "seed": request.seed if request.temperature else None,
            "sample": sample,
            "temperature": request.temperature,
            "seconds": round(result.seconds / request.samples, 3) if picture == "sample" else None,
            "lr_psnr": round(psnr, 2) if math.isfinite(psnr) else None,
        }
        yield json.dumps(line)
