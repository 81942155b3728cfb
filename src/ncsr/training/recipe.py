"""Recipes: everything that decides what a training run computes, as a YAML file checked by pydantic.

A recipe may say `inherit: NAME`, a bundled recipe or a file beside it, and state only its differences; nested sections
are merged.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ncsr.config import ModelConfig, check_limit, explain
from ncsr.data.crops import CropSettings
from ncsr.errors import InputError, brief
from ncsr.runtime.device import Precision
from ncsr.runtime.files import read_small
from ncsr.runtime.parsing import parse_yaml

Count = Annotated[int, Field(ge=1, lt=2**32)]
"""Of steps, or images: random streams take the number of a step below 2^32."""
Share = Annotated[float, Field(ge=0, lt=1)]
Temperature = Annotated[float, Field(ge=0, allow_inf_nan=False)]
RECIPES = Path(__file__).parent.parent / "recipes"
MAX_BATCH_PIXELS = 100_000_000
"""Of the HR crops of a step, all together: their colours take 1.2 GB in float32."""
_ANCESTORS = 16  # recipes that inherit from one another
_RENAMED_KEYS = {
    "strange": "noise_mix_probability",
    "returns": "max_rollbacks",
    "patience": "max_skipped_steps",
}
"""Keys of recipes that were written before they had their present names."""


class Recipe(CropSettings):
    """A training run: how its examples are made, and all else. Lengths are in steps, rates per step."""

    objective: Literal["l1", "likelihood"]
    """`l1`: the encoder's own super-resolution (RRDB); `likelihood`: the flow and its encoder."""
    model: ModelConfig
    steps: Count
    minutes: float | None = Field(None, gt=0, le=10**6)
    """Minutes that the run takes, validation and saving included, instead of `steps`; its schedule goes by them."""
    encoder_recipe: str | None = None
    """The recipe that trains the encoder first, where a run of `minutes` has no model to start from."""
    encoder_share: float = Field(0.15, gt=0, lt=1)
    """The fraction of the minutes that `encoder_recipe` gets."""

    batch: Count = 16
    """Crops per step, over all processes."""
    accumulate: Count = 1
    """Parts in which a process takes its share of the batch, one after another, to save memory."""
    folders: Count = 1
    """How many sources of photographs (`--data`) the recipe wants at least; NCSR* trains on a second one."""
    noise_on: Literal["both", "hr"] = "both"
    """`both`: x+ and y+ (paper, section 3.3); `hr`: x+ alone, y stays clean (section 3.2)."""

    learning_rate: float = Field(2e-4, gt=0, allow_inf_nan=False)
    encoder_rate: float = Field(1.0, ge=0, allow_inf_nan=False)
    """The encoder's learning rate as a fraction of `learning_rate`; 0 freezes it."""
    encoder_frozen: float = Field(0.0, ge=0, le=1)
    """The fraction of the run, from its start, in which the encoder is not trained."""
    betas: tuple[Share, Share] = (0.9, 0.99)
    warmup: int = Field(0, ge=0, lt=2**32)
    """Steps over which the learning rate rises linearly: the first has 1 / warmup of it, the last all of it."""
    schedule: Literal["constant", "halve", "cosine", "restarts"] = "halve"
    """`cosine`: half a period down to zero over the run; `restarts`: one down to 1e-7 every `restart_every` steps."""
    halve_at: tuple[Share, ...] = Field((0.5, 0.75), max_length=100)
    """Fractions of the run after which `halve` halves the learning rate."""
    restart_every: Count = 50_000
    clip: float = Field(float("inf"), gt=0)
    """Largest norm of the gradient; a longer one is scaled down to it."""
    average: float = Field(0.0, ge=0, lt=1)
    """Decay of the exponential moving average of the weights, which is the model that comes out; 0: no average."""

    precision: Precision = "auto"
    """Precision of the encoder and the subnets; the flow is always float32. `auto`: bfloat16 where it is faster.
    `tf32`: float32 with convolutions, and their derivatives, in TF32 on GPUs.

    A model's own `auto` concerns sampling alone; a recipe's concerns training.
    """
    recompute: bool = False
    """Keep no activations inside steps and blocks, compute them again in the backward pass: less memory, more time."""
    compile: bool = False
    """Compile the model with `torch.compile`."""

    checkpoint_every: Count = 200
    keep: Count = 3
    """How many of the last checkpoints stay."""
    validate_every: Count = 1000
    validate_images: Count = 8
    """How many of the validation photographs are measured, the first by name."""
    validate_temperatures: tuple[Temperature, ...] = Field((0.0, 0.5, 0.8, 0.9, 1.0), max_length=100)
    """Temperatures of the samples in the validation picture."""
    max_skipped_steps: Count = 10
    """Steps that may be skipped, of the last thousand, because loss or gradient is not finite."""
    max_rollbacks: int = Field(3, ge=0, lt=2**32)
    """How often the run goes back to its last checkpoint with half the learning rate before it gives up."""

    @model_validator(mode="before")
    @classmethod
    def _rename(cls, values: Any) -> Any:
        return with_current_keys(values) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        flow, unit = self.model.flow, self.model.scale * (1 if self.model.flow is None else 2)
        if self.objective == "likelihood" and flow is None:
            raise ValueError("objective 'likelihood' needs a model with a flow; 'l1' trains the encoder alone")
        if self.objective == "l1" and (self.noise or self.dequantise):
            raise ValueError("noise belongs to the objective 'likelihood'; 'l1' trains without")
        if self.crop % unit:
            near = self.crop // unit * unit or unit
            raise ValueError(f"crop must be a multiple of {unit}, got {self.crop}: use {near}")
        check_limit("the pixels of a batch (batch x crop x crop)", self.batch * self.crop**2, MAX_BATCH_PIXELS)
        if flow is not None and flow.condition != "none" and not self.noise:
            raise ValueError("a model with noise conditional layers needs noise above 0 to train them")
        if self.batch % self.accumulate:
            raise ValueError(f"batch ({self.batch}) must be a multiple of accumulate ({self.accumulate})")
        return self


def load_recipe(name: str, overrides: dict[str, Any] | None = None) -> Recipe:
    """Read a recipe by bundled name or path of a YAML file.

    Args:
        name: `x4-small`, or a path.
        overrides: dotted keys to values, as in `{"model.encoder.blocks": 8}`; they win over the file.

    Raises:
        InputError: unknown recipe; not YAML; an unknown key (named with the nearest known one); a contradictory value.
    """
    values = read_values(name)
    for key, value in with_current_keys(overrides or {}).items():
        _set(values, key.split("."), value)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError(f"recipe {name}: " + explain(error, Recipe)) from None


def recipe_names() -> list[str]:
    """The bundled recipes."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def recipe_lines() -> list[str]:
    """The bundled recipes, a line each: what it is, the time it takes, and what it needs, as its first line says."""
    rows = [("recipe", "what it is", "time", "needs")]
    for name in recipe_names():
        first = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0]
        what, time, needs = first.removeprefix("# ").split(" | ")
        rows.append((name, what, time, needs))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]


def with_current_keys(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's values with the keys that were renamed since under their present names."""
    return {_RENAMED_KEYS.get(key, key): value for key, value in values.items()}


def changed_values(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two nested dictionaries differ: dotted key, old and new value; a value that is absent is None."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from changed_values(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}", before, after


def read_values(name: str, inherited_by: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a recipe, with those that it inherits.

    Args:
        name: a bundled recipe, or a YAML file.
        inherited_by: the files whose `inherit` led here, outermost first; a relative path is looked up beside the last.

    Raises:
        InputError: no such recipe; not YAML; a recipe that inherits from itself, or from too many.
    """
    folder = inherited_by[-1].parent if inherited_by else Path()
    path = folder / name if Path(name).suffix in (".yaml", ".yml") else RECIPES / f"{name}.yaml"
    try:
        path = path.resolve()
        known = path.is_file()
    except (OSError, ValueError, RuntimeError):  # a name that no file can have, a link that leads to itself
        known = False
    if path in inherited_by:
        raise InputError(f"recipe {name} inherits from itself, by way of {brief(list(map(str, inherited_by)))}")
    if len(inherited_by) > _ANCESTORS:
        raise InputError(
            f"recipe {inherited_by[0]} inherits from more than {_ANCESTORS} others, one by one: merge some"
        )
    if not known:
        close = difflib.get_close_matches(name, recipe_names(), 1)
        hint = f"did you mean {close[0]}?" if close else f"bundled recipes: {', '.join(recipe_names())}"
        raise InputError(f"no recipe {brief(name)}: {hint}")
    try:
        values = parse_yaml(read_small(path))
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"recipe {name} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"recipe {name} must hold keys and values, got {type(values).__name__}")
    values = with_current_keys(values)
    first = values.get("encoder_recipe")
    if isinstance(first, str) and Path(first).suffix in (".yaml", ".yml"):
        values["encoder_recipe"] = str(path.parent / first)  # a file beside this one, as that of `inherit`
    parent = values.pop("inherit", None)
    if parent is None:
        return values
    if not isinstance(parent, str):
        raise InputError(f"recipe {name} inherits from {brief(parent)}: expected a name or a file")
    return _merge(read_values(parent, (*inherited_by, path)), values)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _set(values: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        child = values.get(key)
        values[key] = dict(child) if isinstance(child, dict) else {}
        values = values[key]
    values[keys[-1]] = value
