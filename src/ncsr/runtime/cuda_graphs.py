"""Computations captured as CUDA graphs: all their kernels are launched at once, on tensors that stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

import torch

_Result = TypeVar("_Result")

_capturing = Lock()  # a process captures one graph at a time


class GraphRecorder:
    """Captures computations on a stream of its own. What they compute shares memory: one replays at a time.

    Args:
        device: a GPU, on which all of them run.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        with torch.cuda.device(device):
            self._stream, self._used = torch.cuda.Stream(), torch.cuda.Event()
            self._pool = torch.cuda.graph_pool_handle()

    def run(self, compute: Callable[[], _Result]) -> _Result:
        """Compute once as usual, where it will be captured: libraries make their choices and take their workspaces."""
        with torch.cuda.device(self._device):
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                result = compute()
            torch.cuda.current_stream().wait_stream(self._stream)
        return result

    def capture(self, compute: Callable[[], _Result]) -> tuple[_Result, Callable[[], None]]:
        """What it gives, in tensors without numbers yet, and what computes these from the inputs as they are then.

        Args:
            compute: decides nothing by numbers on the device; it has run before.

        Raises:
            RuntimeError: it cannot be captured, or memory is short.
        """
        graph = torch.cuda.CUDAGraph()
        with (
            _capturing,
            torch.cuda.device(self._device),
            torch.cuda.stream(torch.cuda.current_stream()),  # which a capture that fails would not set again
            # Other threads may go on meanwhile, but not wait for the whole device.
            torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"),
        ):
            result = compute()
        return result, graph.replay

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """In this context, the current stream has waited for the one that was last in it: replay and copy here."""
        with torch.cuda.device(self._device):
            torch.cuda.current_stream().wait_event(self._used)
            yield
            self._used.record()


def new_recorder(device: torch.device) -> GraphRecorder | None:
    """What captures on a device, if it is one that has CUDA graphs."""
    return GraphRecorder(device) if device.type == "cuda" else None
