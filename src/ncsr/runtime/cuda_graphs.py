"""Computations captured as CUDA graphs: a replay launches all their kernels at once, on tensors at fixed addresses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

_Result = TypeVar("_Result")

_capturing = Lock()  # a process captures one graph at a time


class GraphRecorder:
    """Captures computations on a stream of its own. Their results share memory, so only one may be replayed at a time.

    Args:
        device: the GPU on which all of them run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream, self._used = torch.cuda.Stream(), torch.cuda.Event()
            self._pool = torch.cuda.graph_pool_handle()

    def run(self, compute: Callable[[], _Result]) -> _Result:
        """Compute without capturing, as a warm-up: libraries choose algorithms and take workspaces on its stream."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = compute()
            torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def capture(self, compute: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """Capture a computation without running it.

        Args:
            compute: must not branch on values on the device, and must have run before (`run`).

        Returns:
            The result of `compute`, whose tensors are not filled yet, and a function that replays the graph: it fills
            them from what the inputs hold at that time.

        Raises:
            RuntimeError: the computation cannot be captured, or memory is short.
        """
        graph = torch.cuda.CUDAGraph()
        with (
            _capturing,
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream()),  # restores the current stream if the capture fails
            # Other threads may go on meanwhile, unless they synchronise the whole device.
            torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            result = compute()
        return result, graph.replay

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """A context in which to replay and to copy results: the current stream first waits for its last user."""
        with torch.cuda.device(self._device):
            torch.cuda.current_stream().wait_event(self._used)
            yield
            self._used.record()


def new_recorder(device: torch.device) -> GraphRecorder | None:
    """A recorder for a device; None if it has no CUDA graphs."""
    return GraphRecorder(device) if device.type == "cuda" else None
