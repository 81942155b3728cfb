"""Damaged and hostile model files: what is enlarged is what the whole model makes; everything else is one sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.campaign.checkpoints import Hostile
from benchmarks.campaign.child import faults, run
from benchmarks.campaign.damage import damaged
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo
from benchmarks.campaign.trial import Campaign, Outcome, Random, pick


class _Prepared(NamedTuple):
    folder: Path
    picture: bytes
    """Made by the whole model."""


_VALUES: tuple[Any, ...] = (
    0,
    -1,
    1.5,
    True,
    None,
    "",
    "x",
    [],
    {},
    [1] * 9,
    float("nan"),
    float("inf"),
    10**5,
    10**6,
    2**31,
    10**30,
    [10**6] * 3,
)
_KEYS = (
    "scale",
    "temperature",
    "encoder",
    "flow",
    "encoder.features",
    "encoder.growth",
    "encoder.blocks",
    "flow.levels",
    "flow.steps",
    "flow.hidden",
    "flow.stacked_blocks",
    "flow.noise_steps",
    "flow.condition",
    "flow.scale_bound",
    "unknown",
)


def prepare(folder: Path) -> _Prepared:
    make_model(folder / "model")
    make_photo(folder / "photo.png")
    run(folder, "upscale", "photo.png", "-m", "model", "-o", "out", "-t", 0, "--device", "cpu")
    return _Prepared(folder, contents(folder / "out")["photo.png"])


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    model = folder / "model"
    shutil.copytree(prepared.folder / "model", model)
    way = (_damaged_weights, _other_value, _damaged_config, _other_weights, _checkpoint)[index % 5]
    if way is _checkpoint:
        what = _checkpoint(folder, random)
        ended = run(folder, "convert", "weights.pth", "-o", "made")
        found = faults(ended, 2) + litter(folder)
        return Outcome(f"convert {what}", "refused", found + _ran(folder))
    what = way(model, random)
    ended = run(
        folder, "upscale", prepared.folder / "photo.png", "-m", "model", "-o", "out", "-t", 0, "--device", "cpu"
    )
    another = way in (_other_value, _damaged_config) or what.endswith("whole numbers")  # a model of somebody's own
    found, made = faults(ended, 0, 2, seconds=10) + litter(folder), contents(folder / "out")
    if ended.code == 0 and not another and made != {"photo.png": prepared.picture}:
        found.append("wrong picture: by a model that is damaged")
    return Outcome(what, "enlarged" if ended.code == 0 else "refused", found + _ran(folder))


def _damaged_weights(model: Path, random: Random) -> str:
    weights = model / "model.safetensors"
    what, data = damaged(weights.read_bytes(), random)
    weights.write_bytes(data)
    return f"weights {what}"


def _damaged_config(model: Path, random: Random) -> str:
    config = model / "config.json"
    what, data = damaged(config.read_bytes(), random)
    if random.random() < 0.2:
        what, data = pick(
            random,
            (
                ("deep", b"[" * 10**5),
                ("of another kind", b"[1, 2]"),
                ("with a long number", b'{"scale": ' + b"4" * 5000 + b"}"),
                ("of 100 MiB", b" " * 100 * 2**20 + b"{}"),
                ("with a byte order mark", b"\xef\xbb\xbf" + config.read_bytes()),
            ),
        )
    config.write_bytes(data)
    return f"config {what}"


def _other_value(model: Path, random: Random) -> str:
    path = model / "config.json"
    values = json.loads(path.read_text())
    *parents, last = pick(random, _KEYS).split(".")
    section, value = values, pick(random, _VALUES)
    for key in parents:
        section = section[key]
    section[last] = value
    path.write_text(json.dumps(values))
    return f"config {'.'.join((*parents, last))} = {value!r}"


def _other_weights(model: Path, random: Random) -> str:
    path = model / "model.safetensors"
    weights = load_file(path)
    key = pick(random, sorted(weights))
    changes: dict[str, Callable[[Tensor], Tensor | None]] = {
        "missing": lambda w: None,
        "NaN": lambda w: torch.full_like(w, float("nan")) if w.is_floating_point() else None,
        "of another shape": lambda w: torch.zeros(*w.shape, 2),
        "whole numbers": lambda w: torch.zeros(w.shape, dtype=torch.int8),
        "complex": lambda w: torch.zeros(w.shape, dtype=torch.complex64),
        "empty": lambda w: torch.zeros(0),
    }
    name = pick(random, sorted(changes))
    changed = changes[name](weights.pop(key))
    if changed is not None:
        weights[key] = changed
    save_file(weights, path, {"format": "pt", "config": (model / "config.json").read_text()})
    return f"{key} {name}"


def _checkpoint(folder: Path, random: Random) -> str:
    """A file for `convert` that is no checkpoint of a model."""
    big = "RRDB.RRDB_trunk.10000000.RDB1.conv1.weight"
    content: tuple[Any, ...] = (
        Hostile(),
        {"state_dict": Hostile()},
        {"params": {"conv_first.weight": Hostile()}},
        {},
        [torch.zeros(2)],
        torch.zeros(2),
        {"conv_first.weight": torch.zeros(64, 3, 3, 3)},
        {"RRDB.conv_first.weight": torch.zeros(64, 3, 3, 3), big: torch.zeros(1)},
        {"model.0.weight": torch.zeros(64, 3, 3, 3), "model.1.sub.99999999.RDB1.conv1.0.weight": torch.zeros(1)},
        {"flowUpsamplerNet.layers.1.invconv.weight": torch.zeros(12, 12)},
        {"conv_first.weight": torch.zeros(2, 2).to_sparse()},
        {"conv_first.weight": torch.zeros(64, 3, 3, 3, dtype=torch.complex64)},
        {"conv_first.weight": torch.zeros(64, 3, 3, 3, device="meta")},
        {1: torch.zeros(2), ("a", "b"): torch.zeros(2)},
    )
    number = int(random.integers(len(content)))
    path = folder / "weights.pth"
    torch.save(content[number], path)
    if random.random() < 0.3:
        what, data = damaged(path.read_bytes(), random)
        path.write_bytes(data)
        return f"content {number} {what}"
    return f"content {number}"


def _ran(folder: Path) -> list[str]:
    return ["code ran: out of a model file"] if (folder / "ran").exists() else []


CAMPAIGN = Campaign("models", 120, 5, prepare, trial)
