"""Kill, truncate, flip, fill and fuzz: what `ncsr` promises, tried by force; prints counts, and each fault.

    python -m benchmarks.campaign [--seed 0] [--only KIND ...] [--quick] [--index N] [--jobs 2] [--keep FOLDER]

A trial is repeated by its kind, seed and index, its faults' inputs are kept by --keep. Exit code 1 if there is a fault.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
import traceback
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.campaign import bombs, checkpoints, disks, images, memory, models, names, settings, tiles, training
from benchmarks.campaign.trial import Campaign, Outcome, random_of

_MODULES = (images, bombs, training, tiles, checkpoints, models, disks, memory, settings, names)
CAMPAIGNS = [module.CAMPAIGN for module in _MODULES]


def run_trial(campaign: Campaign, prepared: Any, seed: int, keep: Path | None, index: int) -> Outcome:
    """One trial in a folder of its own, which is kept if it has faults."""
    with tempfile.TemporaryDirectory(prefix="ncsr-", ignore_cleanup_errors=True) as place:
        folder = Path(place) / "trial"
        folder.mkdir()
        try:
            outcome = campaign.trial(prepared, index, random_of(campaign.name, seed, index), folder)
        except Exception:
            outcome = Outcome("?", "?", [f"campaign: {traceback.format_exc()}"])
        if keep is not None and outcome.faults:
            shutil.copytree(folder, keep / f"{campaign.name}-{seed}-{index}", symlinks=True, dirs_exist_ok=True)
    return outcome


def run_campaign(campaign: Campaign, indices: list[int], seed: int, keep: Path | None, jobs: int) -> Counter[str]:
    """Run and report a campaign; returns how many trials had a fault of each kind."""
    start, endings, kinds, faulty = time.monotonic(), Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory(prefix="ncsr-") as place:
        trial = partial(run_trial, campaign, campaign.prepare(Path(place)), seed, keep)
        with ProcessPoolExecutor(jobs, mp_context=get_context("fork")) as pool:
            for index, outcome in zip(indices, pool.map(trial, indices), strict=True):
                endings[outcome.ending] += 1
                faulty += bool(outcome.faults)
                kinds.update({fault.partition(":")[0] for fault in outcome.faults})
                for fault in outcome.faults:
                    again = f"--only {campaign.name} --seed {seed} --index {index}"
                    print(f"  FAULT {again} ({outcome.what}): {fault}", flush=True)
    seen = "".join(f", {kind} {count}" for kind, count in kinds.most_common())
    ended = ", ".join(f"{ending} {count}" for ending, count in endings.most_common())
    tried = len(indices)
    print(f"{campaign.name:12} tried {tried:4}  survived {tried - faulty:4}  faults {faulty:3}{seen}", end="  ")
    print(f"[{ended}; {time.monotonic() - start:.0f} s]", flush=True)
    return kinds


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=[campaign.name for campaign in CAMPAIGNS], metavar="KIND")
    parser.add_argument("--quick", action="store_true", help="a small slice of each kind")
    parser.add_argument("--index", type=int, nargs="+", help="these trials alone")
    parser.add_argument("--jobs", type=int, default=2, help="trials at one time")
    parser.add_argument("--keep", type=Path, help="folder for the files of trials with faults")
    asked = parser.parse_args()
    faults = Counter[str]()
    for campaign in CAMPAIGNS:
        if asked.only is None or campaign.name in asked.only:
            indices = asked.index or list(range(campaign.quick if asked.quick else campaign.trials))
            faults += run_campaign(campaign, indices, asked.seed, asked.keep, asked.jobs)
    print(f"faults: {faults.total()}")
    return int(faults.total() > 0)


if __name__ == "__main__":
    raise SystemExit(main())
