"""Hostile recipes and values: a training, or one sentence, soon and in little memory."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

from benchmarks.campaign.child import faults, run
from benchmarks.campaign.damage import damaged
from benchmarks.campaign.inputs import litter, make_photo
from benchmarks.campaign.trial import Campaign, Outcome, Random, pick
from tests.training.conftest import BASE

_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
_TEXTS = {
    "nothing": b"",
    "a number": b"3",
    "a list": b"[1, 2]",
    "aliases that grow": _LAUGHS.encode() + b"steps: *i\n",
    "deep nesting": b"model: " + b"[" * 20_000,
    "deep mappings": b"model: " + b"{a: " * 5000,
    "a date": b"objective: 2020-01-01\nsteps: 2020-01-01 00:00:00\n",
    "an impossible date": b"steps: 2020-99-99\n",
    "tags": b"steps: !!int abc\n",
    "python": b"steps: !!python/object/apply:os.system ['touch ran']\n",
    "binary": bytes(range(256)) * 20,
    "not UTF-8": b"objective: caf\xe9\n",
    "a long number": b"steps: " + b"9" * 5000,
    "a long key": b"a" * 10_000 + b": 1\n",
    "keys of other kinds": b"1: 2\nnull: 3\n[a, b]: 4\n{a: b}: 5\n",
    "itself": b"inherit: recipe.yaml\n",
    "a number inherited": b"inherit: 7\n",
    "a list inherited": b"inherit: [a, b]\n",
    "a folder inherited": b"inherit: ../..\n",
    "a NUL inherited": b'inherit: "a\\0b.yaml"\n',
    "merge keys": b"<<: [1, 2]\n",
    "two documents": b"steps: 1\n---\nsteps: 2\n",
    "sexagesimal and octal": b"steps: 1:00:00\nbatch: 0o17\n",
    "terminal codes": b'"\\e[31mred": 1\n',
}
_VALUES = (
    "0", "-1", "1.5", "1e400", ".nan", ".inf", "null", "true", "''", "x", "[]", "{}", "[[[[[1]]]]]", "{a: 1}",
    "1000000", "100000000", "1000000000", "9" * 5000, "2020-01-01", "!!int abc", "!!binary aGk=", "&a [*a]",
    "'\\e[31m'", "[0.5, 2]",     "[" * 3000, "*a", "!!set {a, b}", "1_000", "0x10", "~",
)  # fmt: skip
_KEYS = (
    "objective", "model", "model.scale", "model.encoder", "model.encoder.features", "model.encoder.blocks",
    "model.encoder.growth", "model.flow", "model.flow.steps", "model.flow.hidden", "model.flow.levels",
    "model.flow.stacked_blocks", "model.flow.noise_steps", "model.temperature", "batch", "accumulate", "crop",
    "noise", "learning_rate", "betas", "warmup", "schedule", "halve_at", "clip", "average", "keep",
    "checkpoint_every", "max_skipped_steps", "validate_every", "validate_temperatures", "dequantise", "folders",
    "precision", "unknown", "model.unknown.deep", "", "model..x", "inherit",
)  # fmt: skip


class _Prepared(NamedTuple):
    folder: Path
    recipe: bytes


def prepare(folder: Path) -> _Prepared:
    make_photo(folder / "data" / "one.png", 40, 30)
    return _Prepared(folder, yaml.safe_dump(BASE | {"steps": 1}).encode())


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    texts, recipe, more = list(_TEXTS), prepared.recipe, ["steps=1"]
    if index % 2 == 0 and index // 2 < len(texts):
        what = texts[index // 2]
        recipe = _TEXTS[what]
    elif index % 8 == 0:
        what, recipe = damaged(recipe, random)
        what = f"recipe {what}"
    else:
        change = f"{pick(random, _KEYS)}={pick(random, _VALUES)}"
        what, more = change[:60], [change, *more]
    (folder / "recipe.yaml").write_bytes(recipe)
    changes = [part for change in more for part in ("--set", change)]
    ended = run(
        folder, "train", "recipe.yaml", "--data", prepared.folder / "data", "-o", "run", "--device", "cpu", *changes
    )
    found = faults(ended, 0, 2) + litter(folder)
    if ended.code == 2 and ended.seconds > 3:
        found.append(f"time: {ended.seconds:.1f} s until it is refused")
    if (folder / "ran").exists():
        found.append("code ran: out of a recipe")
    return Outcome(what, "trained" if ended.code == 0 else "refused", found)


CAMPAIGN = Campaign("settings", 120, 5, prepare, trial)
