"""Trainings that are killed, up to three times each, and resumed end as one that nobody disturbed, bit for bit."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from benchmarks.campaign.child import Ended, faults, run
from benchmarks.campaign.inputs import contents, litter, make_photo, make_recipe
from benchmarks.campaign.killing import draw_kill
from benchmarks.campaign.trial import Campaign, Outcome, Random, pick

STEPS = 12
_COMPARED = ("model/", "best/", "validation/", "recipe.yaml")


class Prepared(NamedTuple):
    folder: Path
    whole: dict[str, bytes]
    """The files of a run that nobody disturbed."""
    seconds: float
    """That it took."""


def prepare(folder: Path) -> Prepared:
    make_recipe(
        folder / "recipe.yaml",
        steps=STEPS,
        checkpoint_every=2,
        validate_every=4,
        validate_temperatures=[0.5],
        average=0.9,
        keep=9,
    )
    make_photo(folder / "data" / "one.png", 40, 30)
    make_photo(folder / "data" / "two.png", 33, 52)
    make_photo(folder / "held" / "three.png", 64, 64)
    ended = train(Prepared(folder, {}, 0.0), folder)
    assert ended.code == 0, ended.err
    return Prepared(folder, contents(folder / "run"), ended.wall)


def train(prepared: Prepared, folder: Path, **how: object) -> Ended:
    """Start or, where there is a checkpoint, resume the training in a folder."""
    resume = ("--resume",) if any((folder / "run" / "checkpoints").glob("step-*")) else ()
    sources = ("--data", prepared.folder / "data", "--validate", prepared.folder / "held")
    arguments = (prepared.folder / "recipe.yaml", *sources, "-o", "run", "--device", "cpu", *resume)
    return run(folder, "train", *arguments, **how)  # type: ignore[arg-type]


def trial(prepared: Prepared, index: int, random: Random, folder: Path) -> Outcome:
    what, found, kills = [], [], 0
    for _ in range(1 + index % 3):
        kill = draw_kill(random, prepared.seconds, folder / "run")
        sends = pick(random, (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        ended = train(prepared, folder, before=kill.before, due=kill.due, sends=sends)
        what.append(kill.what if sends == signal.SIGKILL else f"{kill.what} ({sends.name})")
        kills += ended.code == -signal.SIGKILL
        found += faults(ended, 0, -signal.SIGKILL, -sends, 128 + sends) + half_written(folder / "run")
    found += [f"at last: {fault}" for fault in finished(prepared, folder)]
    return Outcome(", ".join(what), f"{kills} kills", found)


def finished(prepared: Prepared, folder: Path) -> list[str]:
    """Finish a run; returns what of it is not as it is in one that nobody disturbed."""
    ended = train(prepared, folder)
    found = faults(ended, 0) + litter(folder / "run")
    if ended.code == 0:
        made = contents(folder / "run")
        names = sorted(name for name in made.keys() | prepared.whole.keys() if name.startswith(_COMPARED))
        differ = [name for name in names if made.get(name) != prepared.whole.get(name)]
        found += [f"wrong result: {', '.join(differ)} differ from those of an undisturbed run"] if differ else []
        lines = [json.loads(line) for line in made["log.jsonl"].splitlines()]
        steps = [line["step"] for line in lines if "event" not in line]
        found += [f"log: steps {steps}"] if steps != list(range(1, STEPS + 1)) else []
    return found


def half_written(run_folder: Path) -> list[str]:
    """Faults for files that are not whole under their final names."""
    found = []
    for name in ("model", "best"):
        weights = run_folder / name / "model.safetensors"
        try:
            if weights.exists():
                with safe_open(weights, "pt") as file:
                    assert all(file.get_tensor(key) is not None for key in file.keys())  # noqa: SIM118
        except (SafetensorError, AssertionError) as error:
            found.append(f"half-written: {weights.name} of {name}: {error}")
    for path in (run_folder / "checkpoints").glob("step-*"):
        try:
            torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            found.append(f"half-written: {path.name}: {error}")
    return found


CAMPAIGN = Campaign("training", 40, 1, prepare, trial)
