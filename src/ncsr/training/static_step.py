"""A training step on tensors at fixed places: captured once as a CUDA graph, then replayed.

A step of this network is some twenty thousand kernels, and launching them one by one takes several times as long as a
GPU computes. So everything from the forward pass to the average of the weights is one graph, and nothing in it is
decided on the host: a step whose loss or gradient is not finite leaves weights, moments and average as they are, by a
flag on the device. The flow's elementwise operations may be fused into fewer kernels, which the graph then holds.
Where there are no graphs (CPUs), or capturing fails, the same operations run one by one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from ncsr.flow.actnorm import ActNorm
from ncsr.flow.conv1x1 import Conv1x1, LogAbsDets
from ncsr.flow.elementwise import Fused
from ncsr.flow.subnet import Subnet
from ncsr.runtime.cuda_graphs import GraphRecorder, new_recorder

Example = tuple[Tensor, Tensor, Tensor | None]
"""x+, y+ and the condition of the noise conditional layers, as `objective.noisy` gives them."""

EAGER_STEPS = 3  # before a capture, in which libraries choose their algorithms and take their workspaces


class StaticStep:
    """Takes optimiser steps; what `model`, `optimiser` and `average` hold changes in place.

    Args:
        objective: from an example to the means of the loss and its two parts, (3,).
        parts: in how many parts a batch is taken, one after another.
        model: whose gradients are clipped, and whose 1x1 convolutions' log-determinants come from batched calls.
        optimiser: a fused Adam, on CUDA capturable.
        clip: the largest norm of the gradient.
        average: of the model's weights, which has been updated before; None for none.
        decay: of the average.
        fused: the flow's elementwise operations in one kernel each; without them where they fail. None for nothing.
    """

    def __init__(
        self,
        objective: Callable[..., Tensor],
        parts: int,
        model: nn.Module,
        optimiser: torch.optim.Adam,
        clip: float,
        average: AveragedModel | None,
        decay: float,
        fused: Fused | None,
    ) -> None:
        self._objective, self._parts = objective, parts
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._averages = None if average is None else (list(average.module.parameters()), list(model.parameters()))
        self._optimiser, self._clip, self._decay = optimiser, clip, decay
        self._log_dets = LogAbsDets([module for module in model.modules() if isinstance(module, Conv1x1)])
        self._fused, self._users = fused, [module for module in model.modules() if isinstance(module, ActNorm | Subnet)]
        device = self._parameters[0].device
        if device.type == "cuda":
            torch.cuda.empty_cache()  # what other streams have kept for themselves would not serve this one's
        self._rates = [torch.zeros((), device=device) for _ in optimiser.param_groups]
        self._figures = torch.zeros(5, device=device)
        self._example: Example | None = None
        self._recorder = new_recorder(device)
        self._replay: Callable[[], None] | None = None
        self._calls = 0

    def __call__(self, example: Example, rates: Sequence[float]) -> Tensor:
        """One step.

        Args:
            example: of the same shapes in every call.
            rates: the learning rate of each of the optimiser's groups.

        Returns:
            (5,), on the device: loss, its two parts, the gradient's norm before clipping, and whether the step was
            taken (1) or skipped (0).
        """
        if self._example is None:
            x, y, condition = example
            self._example = x.clone(), y.clone(), None if condition is None else condition.clone()
        else:
            for place, tensor in zip(self._example, example, strict=True):
                if place is not None and tensor is not None:
                    place.copy_(tensor)
        for place, rate in zip(self._rates, rates, strict=True):
            place.fill_(rate)
        self._log_dets.update()
        if self._recorder is not None and self._replay is None and self._calls >= EAGER_STEPS:
            self._capture(self._recorder)
        self._calls += 1
        if self._replay is not None:
            self._replay()
        else:
            self._run()
        return self._figures.clone()

    def _run(self) -> None:
        """Compute without a graph."""
        try:
            self._compute() if self._recorder is None else self._recorder.run(self._compute)
        except Exception as error:
            if not self._goes_unfused(error):
                raise
            self._run()

    def _capture(self, recorder: GraphRecorder) -> None:
        try:
            _, self._replay = recorder.capture(self._compute)
        except RuntimeError as error:
            if self._goes_unfused(error):
                self._calls = 0
            else:
                self._recorder = None
                _say("a step cannot be captured as a CUDA graph", error)

    def _goes_unfused(self, error: Exception) -> bool:
        """Whether there are fused operations that may be the reason, and from now on are not used."""
        if self._fused is None:
            return False
        self._fused = None
        _say("the elementwise operations of the flow cannot be fused", error)
        return True

    def _compute(self) -> None:
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        assert self._example is not None
        figures = []
        with self._log_dets, nullcontext() if self._fused is None else self._fused.used_by(self._users):
            for part in split(self._example, self._parts):
                means = self._objective(*part)
                (means[0] / self._parts).backward()
                figures.append(means.detach())
        means = torch.stack(figures).mean(0)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        nn.utils.clip_grads_with_norm_(self._parameters, self._clip, norm)
        taken = (means.isfinite().all() & norm.isfinite()).float()
        self._optimiser.found_inf = 1 - taken  # type: ignore[attr-defined]  # the fused step is then skipped
        self._optimiser.step()
        self._optimiser.found_inf = None  # type: ignore[attr-defined]
        if self._averages is not None:
            averages, weights = ([p.detach() for p in parameters] for parameters in self._averages)
            changes = torch._foreach_sub(weights, averages)
            torch._foreach_mul_(changes, (1 - self._decay) * taken)
            torch._foreach_add_(averages, changes)
        self._figures.copy_(torch.cat((means, norm[None], taken[None])))


def split(tensors: Sequence[Tensor | None], parts: int) -> list[tuple[Any, ...]]:
    """A batch in so many equal parts of its first axis; what is None is None in every part."""
    columns = [(None,) * parts if tensor is None else tensor.chunk(parts) for tensor in tensors]
    return list(zip(*columns, strict=True))


def _say(what: str, error: Exception) -> None:
    reason = str(error).strip().partition("\n")[0] or type(error).__name__
    print(f"{what} here, so training is slower: {reason}", file=sys.stderr)
