"""An evaluation by the workers of a cluster: each measures a share of the photographs, as a process of `torchrun` does.

All of them write their records into the one folder of results, which they must all see; a share whose worker died is
gone on with by another, from its records.
"""

from __future__ import annotations

import json

from ncsr.evaluation.records import Records
from ncsr.evaluation.run import Evaluation, Outcome, Progress, fingerprints, measure_part, report
from ncsr.runtime.ray_pool import Workers


def evaluate_by(workers: Workers, work: Evaluation, progress: Progress) -> Outcome:
    """`evaluate` by workers."""
    prints, failures = fingerprints(work)
    world = min(workers.number, len(work.pairs))
    Records(work.output, work.settings, prints, 0, world)  # removes those of other photographs, before any is read
    shares = [json.dumps((rank, world)) for rank in range(world)]
    done = 0
    for text in workers.run(shares, None, _Measurer, (work, prints)):
        share: tuple[list[str], int] = json.loads(text)
        failures += share[0]
        done += share[1]
        progress("", done)
    records = Records(work.output, work.settings, prints, 0, world)
    told = " ".join(failures)
    left = [name for name in prints if name not in records.done and name not in told]
    failures += [f"{name}: its worker died each time, perhaps for want of memory" for name in left]
    return report(work, prints, records, records.done, failures)


class _Measurer:
    """A worker's models and what it does with them."""

    def __init__(self, work: Evaluation, prints: dict[str, str], device: str) -> None:
        self._work, self._prints = work, prints
        for contestant in work.contestants:
            contestant.move(device)
        if work.lpips is not None:
            work.lpips.to(device)

    def __call__(self, share: str) -> str:
        """Measure a share of the photographs; tells the failures and how many they were."""
        rank, world = json.loads(share)
        records = Records(self._work.output, self._work.settings, self._prints, rank, world)
        failures = measure_part(self._work, self._prints, records, lambda *_: None)
        return json.dumps((failures, len(self._work.pairs[rank::world])))
