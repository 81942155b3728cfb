"""The pictures of a report."""

from __future__ import annotations

import numpy as np
import torch

from ncsr.evaluation.pictures import _deviation
from ncsr.sampling.uncertainty import measure_uncertainty


def test_the_map_of_a_report_is_that_of_uncertainty() -> None:
    """The same of two samples, too: the root of the mean square over n, everywhere."""
    samples = torch.randint(100, 120, (2, 3, 6, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = measure_uncertainty(samples / 255).picture().convert("RGB")
    assert np.array_equal(_deviation(samples), expected)
