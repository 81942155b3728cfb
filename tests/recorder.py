"""What records CUDA graphs, for machines without a GPU: "graphs" that compute again what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._pytree import tree_leaves


class Recorder:
    """As `ncsr.runtime.cuda_graphs.GraphRecorder`.

    Attributes:
        runs: how often something was computed without a graph.
        captures: how many graphs there are.
        replays: how often one was replayed.
    """

    def __init__(self, device: torch.device) -> None:
        self.runs = self.captures = self.replays = 0
        self.turn = False

    def run(self, compute: Callable[[], Any]) -> Any:
        self.runs += 1
        return compute()

    def capture(self, compute: Callable[[], Any]) -> tuple[Any, Callable[[], None]]:
        """Nothing is computed before the first replay, and all of them write to the same tensors."""
        self.captures += 1
        result = self.outputs(compute)

        def replay() -> None:
            self.replays += 1
            for place, value in zip(tree_leaves(result), tree_leaves(compute()), strict=True):
                if isinstance(place, torch.Tensor):
                    place.copy_(value)

        return result, replay

    def outputs(self, compute: Callable[[], Any]) -> Any:
        result = compute()
        for place in tree_leaves(result):
            place.fill_(float("nan"))
        return result

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        assert not self.turn
        self.turn = True
        yield
        self.turn = False


class StepRecorder(Recorder):
    """Of steps, which must not be taken when they are captured, and give nothing."""

    def outputs(self, compute: Callable[[], Any]) -> None:
        return None
