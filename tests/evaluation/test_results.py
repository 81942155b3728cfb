"""Means and their confidence intervals."""

from __future__ import annotations

import math

import pytest

from ncsr.evaluation.results import interval, student


def test_intervals() -> None:
    assert interval([1.0, 2.0, 3.0, 6.0]) == pytest.approx((3.0, 3.182 * math.sqrt(14 / 3) / 2, 4), rel=1e-3)
    assert interval([5.0]) == (5.0, None, 1)
    assert interval([5.0, math.inf]) == (math.inf, None, 2)
    published = {1: 12.706, 2: 4.303, 10: 2.228, 11: 2.201, 20: 2.086, 99: 1.984, 1000: 1.962}
    assert {k: round(student(k), 3) for k in published} == published
