"""The training loop: crops in, checkpoints and a model folder out."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from ncsr.checkpoint import read_model
from ncsr.data.crops import Batch, crop_batch, random_stream
from ncsr.device import bfloat16_pays
from ncsr.errors import InputError
from ncsr.files import atomic_path
from ncsr.model import NCSR
from ncsr.noise import draw_noise
from ncsr.training.recipe import Recipe

CHECKPOINT = "checkpoint.pt"
_NOISE = 1  # offsets the seed, so that noise and crops come from different streams


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of (zero-based) step `step`: linear warm-up, then the recipe's schedule."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    done = step / recipe.steps
    if recipe.schedule == "cosine":
        return recipe.learning_rate * (1 + math.cos(math.pi * done)) / 2
    return recipe.learning_rate * 0.5 ** sum(done >= at for at in recipe.halve_at)


class Trainer:
    """One run: model, optimiser and position, which is all that a checkpoint holds.

    Args:
        recipe: what to compute.
        photos: uint8 photographs, (3, H, W) each.
        init: a model to start from; its weights replace those that the new model also has (an RRDB starts a flow's
            encoder).
    """

    def __init__(self, recipe: Recipe, photos: Sequence[Tensor], init: Path | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.photos, self.step = recipe, photos, 0
        self.model = NCSR(recipe.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.model.precision = recipe.precision
        if recipe.precision == "auto":  # of a model, that would concern sampling alone
            self.model.precision = "bfloat16" if bfloat16_pays(self.model.device) else "float32"
        if init is not None:
            load_matching(self.model, read_model(init)[1], str(init))
        encoder = list(self.model.encoder.parameters())
        flow = [] if self.model.flow is None else list(self.model.flow.parameters())
        groups = [{"params": encoder, "rate": recipe.encoder_rate}, {"params": flow, "rate": 1.0}]
        self.optimiser = torch.optim.Adam([g for g in groups if g["params"]], betas=recipe.betas)

    def batch(self, step: int) -> Batch:
        """The crops of a step."""
        r = self.recipe
        return crop_batch(self.photos, size=r.crop, scale=r.model.scale, count=r.batch, seed=r.seed, step=step)

    def noisy(self, step: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """x+, y+ and the condition of a step (paper, section 3.3)."""
        recipe, (hr, lr) = self.recipe, self.batch(step)
        streams = [random_stream(recipe.seed + _NOISE, step, i) for i in range(recipe.batch)]
        v = draw_noise(streams, recipe.crop, recipe.crop, recipe.model.scale, recipe.noise)
        kind = "none" if recipe.model.flow is None else recipe.model.flow.condition
        condition = {"noise": v.hr, "std": v.std, "none": None}[kind]
        return hr + v.hr, lr + v.lr, condition

    def loss(self, step: int) -> Tensor:
        """The mean loss of a step: L1 of the encoder alone, or bits per dimension of x+ given y+ and v."""
        if self.recipe.objective == "l1":
            hr, lr = self.batch(step)
            with torch.autocast(lr.device.type, torch.bfloat16, enabled=self.model.low_precision(sampling=False)):
                sr: Tensor = self.model.encoder(lr)
            return (sr.float() - hr).abs().mean()
        loss: Tensor = self.model(*self.noisy(step))
        return loss.mean()

    def start(self) -> None:
        """Start the actnorms from the first step's crops; those of a model that was loaded are started already."""
        if self.recipe.objective == "likelihood":
            self.model.start_actnorms(*self.noisy(0))

    def advance(self) -> tuple[float, float, float]:
        """One optimiser step; returns the loss, the gradient's norm and the learning rate."""
        rate = learning_rate(self.recipe, self.step)
        for group in self.optimiser.param_groups:
            group["lr"] = rate * group["rate"]
        loss = self.loss(self.step)
        self.optimiser.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(self.model.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.step += 1
        return loss.item(), norm.item(), rate

    def save(self, run: Path) -> None:
        """Write the checkpoint and the model as it is now; both appear whole or not at all."""
        state = {
            "step": self.step,
            "recipe": self.recipe.model_dump(mode="json"),
            "model": self.model.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }
        with atomic_path(run / CHECKPOINT) as path:
            torch.save(state, path)
        self.model.save(run / "model")

    def resume(self, run: Path) -> None:
        """Go on from the run's checkpoint.

        Raises:
            InputError: no checkpoint, an unreadable one, or one of another recipe.
        """
        path = run / CHECKPOINT
        if not path.is_file():
            raise InputError(f"nothing to resume in {run}: no {CHECKPOINT} there; leave out --resume to start a run")
        try:
            state = torch.load(path, weights_only=True)
            changed = differences(state["recipe"], self.recipe.model_dump(mode="json"))
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError):
            raise InputError(f"{path} is damaged or no checkpoint: start another run in another folder") from None
        if changed:
            raise InputError(f"{run} was trained with another recipe ({'; '.join(changed)}): resume with the same one")
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]


def load_matching(model: nn.Module, weights: dict[str, Tensor], source: str) -> None:
    """Copy into `model` every tensor of `weights` that it has too.

    Raises:
        InputError: a shape differs, or there is nothing in common.
    """
    own = model.state_dict()
    common = {key: value for key, value in weights.items() if key in own}
    misshapen = [key for key, value in common.items() if value.shape != own[key].shape]
    if misshapen or not common:
        what = f"{misshapen[0]} has another shape" if misshapen else "they share no parameter"
        raise InputError(f"{source} cannot start this model: {what}; use a model of the recipe's architecture")
    model.load_state_dict(common, strict=False)


def differences(old: dict[str, object], new: dict[str, object], prefix: str = "") -> list[str]:
    """The keys in which two nested dictionaries differ, as `key: old -> new`."""
    found = []
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, dict) and isinstance(b, dict):
            found += differences(a, b, f"{prefix}{key}.")
        elif a != b:
            found.append(f"{prefix}{key}: {a} -> {b}")
    return found
