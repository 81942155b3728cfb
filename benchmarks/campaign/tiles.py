"""Enlarging in tiles that is killed, up to twice, and started again: the pictures of a run that nobody disturbed."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import NamedTuple

from benchmarks.campaign.child import Ended, faults, run
from benchmarks.campaign.inputs import contents, litter, make_model, make_photo
from benchmarks.campaign.killing import draw_kill
from benchmarks.campaign.trial import Campaign, Outcome, Random, pick

_WAYS = {
    "plain": (),
    "with a sheet": ("--sheet", "--std"),
    "consistent": ("--consistent",),
}


class _Prepared(NamedTuple):
    folder: Path
    whole: dict[str, tuple[dict[str, bytes], float]]
    """For each way the files of a run that nobody disturbed, and the seconds it took."""


def prepare(folder: Path) -> _Prepared:
    make_model(folder / "model")
    whole = {}
    for way in _WAYS:
        place = folder / way
        place.mkdir()
        ended = _upscale(folder, way, place)
        assert ended.code == 0, ended.err
        whole[way] = contents(place / "out"), ended.wall
    return _Prepared(folder, whole)


def trial(prepared: _Prepared, index: int, random: Random, folder: Path) -> Outcome:
    way = list(_WAYS)[index % len(_WAYS)]
    whole, seconds = prepared.whole[way]
    what, found, kills = [way], [], 0
    for _ in range(1 + index % 2):
        kill = draw_kill(random, seconds, folder / "out")
        sends = pick(random, (signal.SIGKILL, signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT))
        ended = _upscale(prepared.folder, way, folder, before=kill.before, due=kill.due, sends=sends)
        what.append(kill.what if sends == signal.SIGKILL else f"{kill.what} ({sends.name})")
        kills += ended.code == -signal.SIGKILL
        found += faults(ended, 0, -signal.SIGKILL, -sends, 128 + sends)
        made = contents(folder / "out")
        found += [f"half-written: {name}" for name, data in made.items() if name in whole and data != whole[name]]
    ended = _upscale(prepared.folder, way, folder)
    found += faults(ended, 0) + litter(folder / "out")
    made = contents(folder / "out")
    differ = sorted(name for name in made.keys() | whole.keys() if made.get(name) != whole.get(name))
    found += [f"wrong picture: {', '.join(differ)} differ from those of an undisturbed run"] if differ else []
    return Outcome(", ".join(what), f"{kills} kills", found)


def _upscale(prepared: Path, way: str, folder: Path, **how: object) -> Ended:
    photo = make_photo(folder / f"photo{'.tif' if way == 'consistent' else '.png'}", 44, 50)
    arguments = (
        "-m",
        prepared / "model",
        "-o",
        "out",
        "-n",
        2,
        "--seed",
        7,
        "--tile",
        16,
        "--device",
        "cpu",
        *_WAYS[way],
    )
    return run(folder, "upscale", photo.name, *arguments, **how)  # type: ignore[arg-type]


CAMPAIGN = Campaign("tiles", 60, 1, prepare, trial)
