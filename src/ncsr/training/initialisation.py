"""Starting a model from the weights of another one."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from pathlib import Path

from torch import Tensor, nn

from ncsr.errors import InputError
from ncsr.model import NCSR
from ncsr.serialization import read_model
from ncsr.training.recipe import changed_values

_NAMED = 4  # parts of a model that a note names


def start_from(path: Path, model: NCSR) -> list[str]:
    """Copy into `model` what it has in common with the model in `path`; of one of the other scale, the encoder alone.

    Returns:
        What did not fit, a sentence each.

    Raises:
        InputError: what `read_model` and `load_matching` refuse.
    """
    config, weights = read_model(path)
    if config.scale != model.config.scale:  # a flow is of one scale
        weights = {key: value for key, value in weights.items() if key.startswith("encoder.")}
    compared = {"scale", "encoder"} | ({"temperature"} if config.flow and model.config.flow else set())
    before, here = (each.model_dump(include=compared) for each in (config, model.config))
    changed = [f"{key} was {old}, it is {new} here" for key, old, new in changed_values(before, here)]
    return [f"started from {path}: {fact}" for fact in (*load_matching(model, weights, str(path)), *changed)]


def load_matching(model: nn.Module, weights: dict[str, Tensor], source: str) -> list[str]:
    """Copy into `model` every tensor of `weights` that it has too.

    Returns:
        Which parts of the model start anew, and which of `weights` are not used, a clause for each of the two.

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
    anew, unused = _parts_outside(own, common), _parts_outside(weights, common)
    return [f"new are {anew}"] * bool(anew) + [f"not used are {unused}"] * bool(unused)


def _parts_outside(keys: Iterable[str], common: Iterable[str]) -> str:
    """The names of the largest parts among `keys` that have no key in `common`, the first few."""
    known = {prefix for key in common for prefix in accumulate(key.split("."), "{}.{}".format)}
    found = (
        next(prefix for prefix in accumulate(key.split("."), "{}.{}".format) if prefix not in known)
        for key in keys
        if key not in known
    )
    parts = list(dict.fromkeys(found))
    more = [f"and {len(parts) - _NAMED} more"] if len(parts) > _NAMED else []
    return ", ".join([*parts[:_NAMED], *more])
