"""The state of one training run (model, average, optimiser and position) and how it takes a step."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ncsr.data.loader import Batch
from ncsr.errors import InputError
from ncsr.flow.elementwise import Fused
from ncsr.model import NCSR
from ncsr.ops.precision import float32_products
from ncsr.runtime.device import bfloat16_pays
from ncsr.training.initialisation import start_from
from ncsr.training.objective import Objective, noisy
from ncsr.training.recipe import Recipe
from ncsr.training.schedule import encoder_trains, learning_rate
from ncsr.training.static_step import StaticStep, split

_WATCHED = 1000  # steps over which skipped ones are counted


class StepResult(NamedTuple):
    """The figures of one step.

    Attributes:
        step: its number, from 1.
        loss: mean over the global batch: L1, or bits per dimension.
        density: the part of the loss that comes from the latents' density, in bits per dimension.
        log_det: the part that comes from the log-determinant.
        norm: the gradient's norm before clipping.
        rate: the learning rate.
        taken: whether the step was taken; it is skipped when the loss or the gradient is not finite.
    """

    step: int
    loss: float
    density: float
    log_det: float
    norm: float
    rate: float
    taken: bool


class Trainer:
    """One run. `state` returns, and `restore` takes back, all that decides what comes next.

    Args:
        recipe: what to compute.
        fabric: device and processes, launched.
        init: a model to start from; its weights replace those that the new model also has (an RRDB starts a flow's
            encoder, and of a model of the other scale the encoder alone is taken).
        step: position in the recipe's schedule to start at.

    Attributes:
        model: as it is trained.
        average: the moving average of its weights; None without.
        optimiser: Adam, with one group of parameters for the encoder and one for the flow.
        step: how many steps were taken or skipped so far.
        skipped: zero-based numbers of the skipped steps, of the last thousand as of the latest skip.
        rollbacks: how often the run went back to a checkpoint; each halves the learning rate.
        static: whether steps are taken on tensors at fixed places, on a GPU as a CUDA graph.
        fused: the flow's elementwise operations in one kernel each, which static steps take; None for nothing.
        spent: seconds spent on the run before it was resumed.
        reserve: seconds of the recipe's minutes that are kept for what comes after the last step.
        notes: what of `init` did not fit, a sentence each.

    Raises:
        InputError: the batch cannot be shared evenly by the processes; `init` does not fit.
    """

    def __init__(self, recipe: Recipe, fabric: Fabric, init: Path | None = None, step: int = 0) -> None:
        if recipe.batch % (fabric.world_size * recipe.accumulate):
            raise InputError(
                f"a batch of {recipe.batch} cannot be shared by {fabric.world_size} processes in {recipe.accumulate} "
                "parts each: make batch a multiple of their product"
            )
        torch.manual_seed(recipe.seed)
        self.recipe, self.fabric, self.step = recipe, fabric, step
        self.skipped: list[int] = []
        self.rollbacks = 0
        self.spent = self.reserve = 0.0
        self._began = time.monotonic()
        self.model = NCSR(recipe.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.recompute, self.model.precision = recipe.recompute, recipe.precision
        if recipe.precision == "auto":  # a model's own `auto` concerns sampling alone
            self.model.precision = "bfloat16" if bfloat16_pays(fabric.device) else "float32"
        self.notes = [] if init is None else start_from(init, self.model)
        on_cuda = fabric.device.type == "cuda"
        self.optimiser = _optimiser(self.model, recipe, capturable=on_cuda)
        objective = Objective(self.model, recipe)
        self._objective, self._optimiser = fabric.setup(
            cast(nn.Module, torch.compile(objective)) if recipe.compile else objective, self.optimiser
        )
        self.average = None if not recipe.average else self._new_average()
        # Several processes exchange gradients during backward, and recomputing asks for random states: both eager.
        self.static = on_cuda and fabric.world_size == 1 and not (recipe.compile or recipe.recompute)
        self.fused = _fused() if self.static else None
        self._static_step: StaticStep | None = None
        self._pending: list[tuple[int, float, Tensor]] = []

    def start(self, batch: Batch) -> None:
        """Start from one batch, the same in all processes, the actnorms that were not loaded with a model."""
        if self.recipe.objective == "likelihood":
            self.model.start_actnorms(*noisy(self.fabric.to_device(batch), self.recipe))
        if self.average is not None:
            self.average = self._new_average()

    def done(self) -> float:
        """The fraction of the run that is over (0 to 1), of its steps or of its minutes; the same in all processes."""
        if self.recipe.minutes is None:
            return self.step / self.recipe.steps
        limit = 60 * self.recipe.minutes - self.reserve
        share = torch.tensor(1.0 if limit <= 0 else min(1.0, self.seconds() / limit))
        agreed = self.fabric.all_reduce(share, reduce_op="max")
        assert isinstance(agreed, Tensor)
        return agreed.item()

    def seconds(self) -> float:
        """Seconds spent on the run so far, including those before it was resumed."""
        return self.spent + time.monotonic() - self._began

    def advance(self, batch: Batch) -> StepResult:
        """One optimiser step on this process's share of the batch, and its figures."""
        self.enqueue(batch)
        return self.results()[-1]

    def enqueue(self, batch: Batch) -> None:
        """One optimiser step on this process's share of the batch; on a GPU it may still be computing afterwards."""
        done = self.done()
        rate = learning_rate(self.recipe, self.step, done) * 0.5**self.rollbacks
        trains = encoder_trains(self.recipe, done)
        if trains != self.model.encoder.first.weight.requires_grad:
            self._static_step = None
        self.model.encoder.requires_grad_(trains)
        take = self._take_static_step if self.static else self._take_step
        rates = [rate * group["rate"] for group in self.optimiser.param_groups]
        tf32 = self.model.precision == "tf32" and not self.recipe.compile  # a compiled flow would be TF32 throughout
        with float32_products(tf32=tf32):
            figures = take(self.fabric.to_device(batch), rates)
        self._pending.append((self.step, rate, figures))
        self.step += 1

    def results(self) -> list[StepResult]:
        """The figures of the steps since the last call; waits until the device has taken them."""
        if not self._pending:
            return []
        steps, rates, figures = zip(*self._pending, strict=True)
        results = []
        for step, rate, row in zip(steps, rates, torch.stack(figures).tolist(), strict=True):
            loss, density, log_det, norm, taken = row
            results.append(StepResult(step + 1, loss, density, log_det, norm, rate, bool(taken)))
            if not taken:
                self.skipped = [skipped for skipped in self.skipped if skipped > step - _WATCHED] + [step]
        self._pending.clear()
        return results

    def too_many_skipped_steps(self) -> bool:
        """Whether more of the last thousand steps were skipped than the recipe allows."""
        return len(self.skipped) > self.recipe.max_skipped_steps

    def result(self) -> NCSR:
        """The model as it is now: the average of its weights where the recipe asks for one."""
        result = self.model if self.average is None else self.average.module
        assert isinstance(result, NCSR)
        return result

    def state(self) -> dict[str, Any]:
        """The state that a checkpoint keeps, from which training continues exactly."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "skipped": self.skipped,
            "returns": self.rollbacks,  # the name that the format has
            "seconds": self.seconds() if self.recipe.minutes else 0.0,
            "random": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Return to the state that `state` described, bit for bit.

        Raises:
            Exception: of any kind, if it describes none of this trainer; what is restored by then is undefined.
        """
        self._static_step = None
        self._pending.clear()
        self.model.load_state_dict(state["model"])
        # The groups' settings are the recipe's and the device's.
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state["optimiser"]["state"]})
        for parameter, values in self.optimiser.state.items():  # which Adam takes unseen
            shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
            if {name: value.shape for name, value in values.items()} != shapes:
                raise ValueError("its optimiser belongs to another model")
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.step, self.rollbacks = int(state["step"]), int(state["returns"])
        self.skipped = [int(step) for step in state["skipped"]]
        torch.set_rng_state(state["random"])

    def _take_step(self, batch: Batch, rates: Sequence[float]) -> Tensor:
        """Take a step, or skip it; returns the figures that `StaticStep` returns."""
        for group, rate in zip(self.optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
        self.optimiser.zero_grad()
        means = self.fabric.all_reduce(self._backward(batch), reduce_op="mean")
        assert isinstance(means, Tensor)
        norm = self.fabric.clip_gradients(
            self._objective, self._optimiser, max_norm=self.recipe.clip, error_if_nonfinite=False
        )
        assert norm is not None
        taken = means.isfinite().all() & norm.isfinite()
        if taken:
            self._optimiser.step()
            if self.average is not None:
                self.average.update_parameters(self.model)
        return torch.cat((means, norm[None], taken[None]))

    def _take_static_step(self, batch: Batch, rates: Sequence[float]) -> Tensor:
        """As `_take_step`, with nothing decided on the host."""
        if self._static_step is None:
            if self.average is not None and not self.average.n_averaged:  # it begins as a copy
                return self._take_step(batch, rates)
            self._static_step = StaticStep(
                self._objective.module,
                self.recipe.accumulate,
                self.model,
                self.optimiser,
                self.recipe.clip,
                self.average,
                self.recipe.average,
                None if self.model.flow is None else self.fused,
            )
        return self._static_step(noisy(batch, self.recipe), rates)

    def _backward(self, batch: Batch) -> Tensor:
        """Add up the gradients of the batch's parts; returns the means of the objective's figures."""
        parts = [Batch(*part) for part in split(batch, self.recipe.accumulate)]
        figures = []
        for i, part in enumerate(parts):
            with self.fabric.no_backward_sync(self._objective, enabled=i + 1 < len(parts)):
                means = self._objective(*noisy(part, self.recipe))
                self.fabric.backward(means[0] / len(parts))
            figures.append(means.detach())
        return torch.stack(figures).mean(0)

    def _new_average(self) -> AveragedModel:
        return AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(self.recipe.average))


def _optimiser(model: NCSR, recipe: Recipe, *, capturable: bool) -> torch.optim.Adam:
    """Of the parts that there are, each with its share of the learning rate as `rate`."""
    rates = ((model.encoder, recipe.encoder_rate), (model.flow, 1.0))
    groups = [{"params": list(part.parameters()), "rate": rate} for part, rate in rates if part is not None]
    return torch.optim.Adam(groups, betas=recipe.betas, fused=True, capturable=capturable)


def _fused() -> Fused | None:
    try:  # PyTorch brings Triton along for the GPUs that have it
        from ncsr.flow.triton_kernels import TRITON
    except ImportError:
        return None
    return TRITON
