"""Sampling captured as CUDA graphs, for the shapes of LR images that come again.

A GPU decodes small images faster than their kernels are launched one by one. When LR images of a shape are decoded for
the second time, the encoder with the conditions, and decoding for each number of samples, are captured; from then on
LR images and latents are copied into the graphs' own tensors, and samples out of them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from threading import Lock
from typing import NamedTuple

import torch
from torch import Tensor

from ncsr.runtime.cuda_graphs import GraphRecorder
from ncsr.sampling.folded_flow import FoldedConditions, chunk_size

_PIXELS = 2**17  # LR pixels of all captured shapes together: their memory stays taken
_NUMBERS = 4  # counts of latents that are captured for one shape, (n B) each
_SEEN = 1024  # shapes remembered as seen once
_IDLE = 64  # a shape that was not decoded for so many decodings may give way to another

ComputeConditions = Callable[[Tensor], FoldedConditions]
"""From LR images to what all steps need of them."""
Decode = Callable[[Sequence[Tensor], FoldedConditions], Tensor]
"""From latents and conditions to HR images."""


class Key(NamedTuple):
    """The key of a captured graph: the shape of the LR images, and the requested precision."""

    shape: torch.Size
    precision: str


class SamplingGraphs:
    """The captured samplings of a model whose weights stay as they are. Threads may share it: one decodes at a time.

    Args:
        recorder: of this alone.
    """

    def __init__(self, recorder: GraphRecorder) -> None:
        self._recorder, self._lock = recorder, Lock()
        self._seen: set[Key] = set()
        self._captured: dict[Key, _CapturedSampling] = {}
        self._works, self._clock = True, 0

    def prepare(self, key: Key, lr: Tensor) -> int | None:
        """Compute the conditions of LR images and say how many samples of each to decode at a time, if captured."""
        with self._lock, torch.inference_mode(False), torch.no_grad():
            captured = self._captured.get(key)
            if captured is None:
                return None
            with self._recorder.in_turn():
                captured.prepare(lr)
            return captured.chunk

    def decode(
        self, key: Key, lr: Tensor, latents: Sequence[Tensor], condition: ComputeConditions, decode: Decode
    ) -> Tensor | None:
        """The HR images of latents; None where they are to be computed without graphs.

        Args:
            key: of `lr`.
            lr: LR images, which nobody writes to.
            latents: fine to coarse.
            condition: always the same computation.
            decode: always the same computation.
        """
        with self._lock, torch.inference_mode(False), torch.no_grad():
            self._clock += 1
            try:
                captured = self._captured.get(key) or self._capture(key, lr, condition)
                if captured is None:
                    return None
                captured.used = self._clock
                with self._recorder.in_turn():
                    return captured.decode(lr, latents, decode)
            except RuntimeError as error:
                self._works = False
                self._captured.clear()
                reason = str(error).partition("\n")[0]
                warnings.warn(f"sampling goes on without CUDA graphs, slower: {reason}", stacklevel=4)
                return None

    def _capture(self, key: Key, lr: Tensor, condition: ComputeConditions) -> _CapturedSampling | None:
        if key not in self._seen or not self._works:
            self._seen = {*self._seen, key} if len(self._seen) < _SEEN else {key}
            return None
        pixels = {other: other.shape.numel() // 3 for other in (*self._captured, key)}
        for other in sorted(self._captured, key=lambda other: self._captured[other].used):
            if sum(pixels.values()) > _PIXELS and self._captured[other].used < self._clock - _IDLE:
                del self._captured[other], pixels[other]
        if sum(pixels.values()) > _PIXELS:
            return None
        self._captured[key] = _CapturedSampling(self._recorder, lr, condition)
        return self._captured[key]


class _CapturedSampling:
    """The sampling for LR images of one shape.

    Attributes:
        chunk: how many samples of each image to decode at a time.
        used: when it was used last.
    """

    def __init__(self, recorder: GraphRecorder, lr: Tensor, condition: ComputeConditions) -> None:
        self._recorder = recorder
        self._owner: Tensor | None = None  # the LR images whose conditions the graph's tensors hold
        self._lr = place = recorder.run(lr.clone)
        recorder.run(lambda: condition(place))
        self._conditions, self._replay = recorder.capture(lambda: condition(place))
        self._decodings: dict[int, tuple[list[Tensor], Tensor, Callable[[], None]]] = {}
        self.chunk, self.used = chunk_size(self._conditions[-1]), 0

    def prepare(self, lr: Tensor) -> None:
        if self._owner is not lr:
            self._lr.copy_(lr)
            self._replay()
            self._owner = lr

    def decode(self, lr: Tensor, latents: Sequence[Tensor], decode: Decode) -> Tensor:
        self.prepare(lr)
        number = len(latents[0])
        if number not in self._decodings:
            if len(self._decodings) == _NUMBERS:
                return decode(latents, self._conditions)
            conditions, places = self._conditions, self._recorder.run(lambda: [latent.clone() for latent in latents])
            self._recorder.run(lambda: decode(places, conditions))
            self._decodings[number] = places, *self._recorder.capture(lambda: decode(places, conditions))
        places, images, replay = self._decodings[number]
        for place, latent in zip(places, latents, strict=True):
            place.copy_(latent)
        replay()
        return images.clone()
