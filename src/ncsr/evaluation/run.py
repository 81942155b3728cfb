"""An evaluation from its photographs to its report."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from markupsafe import Markup
from torch import Tensor

from ncsr.errors import InputError, SamplingError
from ncsr.evaluation.html import data_url, render_in_pieces
from ncsr.evaluation.measuring import ImageMeasures
from ncsr.evaluation.methods import Method
from ncsr.evaluation.pairs import SAME_KERNEL, Pair, PhotographFiles, read_pair
from ncsr.evaluation.pictures import DEVIATION_SCALE, RowImages, photograph_section
from ncsr.evaluation.plots import calibration_png, is_sweep, sweep_png
from ncsr.evaluation.protocol import MADE, ROUNDED, TRUNCATED, Protocol, Settings
from ncsr.evaluation.records import Records
from ncsr.evaluation.results import (
    Record,
    Results,
    caption,
    images_csv,
    json_text,
    markdown_text,
    summarise,
    title,
)
from ncsr.evaluation.tables import table_of
from ncsr.images.origin import together
from ncsr.metrics import LPIPS, eight_bit
from ncsr.runtime.files import atomic_path, explain_write_errors
from ncsr.runtime.memory import is_exhaustion
from ncsr.runtime.torchrun import Processes

Progress = Callable[[str, float], None]
"""Called with a photograph's name and the number of photographs done, with fractions of one."""


class Addition:
    """The base of what can be added to a report, such as a table of the paper; by itself it adds nothing."""

    name: str | None = None
    """The table or figure of the paper; None for none."""

    def panels(self, pair: Pair, shown: list[RowImages]) -> dict[str, Tensor]:
        """The pictures of a photograph that it needs; they are stored with the photograph's record."""
        return {}

    def write(self, results: Results, panels: dict[str, dict[str, Tensor]]) -> tuple[dict[str, bytes], str]:
        """Its files (contents by name) and its chapter of the page, from the results and all photographs' panels."""
        return {}, ""


@dataclass(frozen=True)
class Evaluation:
    """What is measured, on which photographs and how, as the command line says it.

    Attributes:
        hr: folder of the photographs.
        lr: folder of their LR images; None makes them.
        output: folder for the report.
        scale: the factor that everything enlarges by.
        methods: the methods whose images are measured, one per row of the table.
        pairs: the photographs' files.
        notes: sentences for the reader of the report.
        pictures: how many photographs the page shows.
        lpips: the network that LPIPS and the diversity on it need.
        truncate: truncate samples to 8 bits for LR-PSNR, as the published code does, instead of rounding.
        device: the device to compute on.
        seed: the samples' seed; None if the images are there already.
        tile: side of the tiles in LR pixels; None if the images are there already.
        precision: the precision of the models.
        addition: what a table or figure of the paper adds to the report.
        command: the command line, for the report.
        portable: removes the folders of this machine from a sentence.
        calibration: measure CRPS, spread against error and coverage as well.
    """

    hr: Path
    lr: Path | None
    output: Path
    scale: int
    methods: Sequence[Method]
    pairs: list[PhotographFiles]
    notes: list[str]
    pictures: int
    lpips: LPIPS
    truncate: bool = False
    device: str = "cpu"
    seed: int | None = None
    tile: int | None = None
    precision: str = "float32"
    addition: Addition = field(default_factory=Addition)
    command: str = ""
    portable: Callable[[str], str] = str
    calibration: bool = False

    @cached_property
    def settings(self) -> Settings:
        """Everything that the figures depend on."""
        protocol = Protocol(
            scale=self.scale,
            seed=self.seed,
            lr_images="as given" if self.lr else MADE,
            crop=f"photographs to multiples of {self.scale} at the right and bottom",
            shave=self.scale,
            rounding=TRUNCATED if self.truncate else ROUNDED,
            lpips=self.lpips.source,
            tile=self.tile,
            device=self.device.partition(":")[0],
            precision=self.precision,
        )
        return Settings(
            ncsr=version("ncsr"),
            torch=torch.__version__,
            protocol=protocol,
            rows=tuple(method.row for method in self.methods),
            pictures=self.pictures,
            calibration=self.calibration,
            reproduces=self.addition.name,
        )


class Report(NamedTuple):
    """An evaluation's files (none if nothing was measured), a sentence per photograph that failed, and warnings."""

    paths: list[Path]
    failures: list[str]
    warnings: list[str]


def evaluate(work: Evaluation, processes: Processes, progress: Progress) -> Report:
    """Measure the photographs that have no record yet, and write the report.

    Args:
        work: the evaluation.
        processes: share the photographs; process 0 writes the report.
        progress: called as this process goes on.
    """
    fingerprints, unread = _fingerprints(work)
    for rank in range(processes.world):  # one after the other, since `Records` removes files that no longer count
        if rank == processes.rank:
            records = Records(work.output, work.settings, fingerprints, processes)
        processes.gather(None)
    failures = _measure_share(work, work.pairs[processes.rank :: processes.world], fingerprints, records, progress)
    gathered = processes.gather((failures, records.done))
    if processes.rank:
        return Report([], failures, [])
    failures = [sentence for part, _ in gathered for sentence in part]
    return _report(work, fingerprints, records, set().union(*(names for _, names in gathered)), unread + failures)


def _fingerprints(work: Evaluation) -> tuple[dict[str, str], list[str]]:
    """The fingerprints of all photographs' files, by name, and a sentence for each that cannot be read."""
    fingerprints, failures = {}, []
    for files in work.pairs:
        try:
            fingerprints[files.name] = files.fingerprint()
        except InputError as error:
            failures.append(str(error))
    return fingerprints, failures


def _measure_share(
    work: Evaluation, share: list[PhotographFiles], fingerprints: dict[str, str], records: Records, progress: Progress
) -> list[str]:
    """Measure those of a process's share of photographs that have no record; returns a sentence per failure."""
    failures = []
    readable = [files for files in share if files.name in fingerprints]
    left = [files for files in readable if files.name not in records.done]
    progress("", len(readable) - len(left))
    for done, files in enumerate(left, len(readable) - len(left)):

        def advance(part: float, name: str = files.name, before: int = done) -> None:
            progress(name, before + part)

        try:
            _measure(work, files, fingerprints[files.name], records, advance)
        except InputError as error:
            failures.append(str(error))
        except (MemoryError, RuntimeError) as error:
            if not is_exhaustion(error):
                raise
            failures.append(f"{files.name}: not enough memory: ask for fewer samples (-n) or a smaller --tile")
        else:
            records.done.add(files.name)
        progress(files.name, done + 1)
    return failures


def _report(
    work: Evaluation, fingerprints: dict[str, str], records: Records, measured: set[str], failures: list[str]
) -> Report:
    """Write the report on the photographs that were measured by any process; `failures` tell of the others."""
    if not measured:
        return Report([], failures, [])
    order = [files.name for files in work.pairs if files.name in measured]
    read = [records.read(name) for name in order]
    warnings = _kernel_warnings(read)
    notes = [*work.notes, *warnings]
    if failures:
        notes.append(f"Not in these figures: {'; '.join(failures)}.")
    notes = [work.portable(note) for note in notes]
    table = {row: summarise(read, row, gathered.figures()) for row, gathered in records.merged().items()}
    found = [fingerprints[name] for name in order]
    results = Results(work.settings, work.command, work.hr.resolve().name, read, found, table, notes)
    return Report(_write(work, results, records), failures, warnings)


def _measure(
    work: Evaluation, files: PhotographFiles, fingerprint: str, records: Records, progress: Callable[[float], None]
) -> None:
    """Measure one photograph and write its record.

    Raises:
        InputError: whatever is wrong; the sentence names the photograph, or the folder that cannot be written to.
    """
    pair = read_pair(files, work.scale)  # its errors name the file
    try:
        figures, shown = _measure_methods(work, pair, progress)
    except (InputError, SamplingError) as error:
        raise InputError(f"{files.name}: {error}") from error
    record = {
        "name": files.name,
        "agreement": pair.agreement,
        "figures": figures,
        "samples": {row.name: len(samples) for row, samples, *_ in shown},
    }
    seen = files.index < work.pictures
    pictures = photograph_section(pair, shown, figures) if seen else ""
    samples = {row.name: images for row, images, *_ in shown}
    records.add(files.name, fingerprint, record, pictures, work.addition.panels(pair, shown), samples, pair.hr)


def _measure_methods(
    work: Evaluation, pair: Pair, progress: Callable[[float], None]
) -> tuple[dict[str, dict[str, float]], list[RowImages]]:
    """The figures of every row by its name, and every row's images."""
    measures = ImageMeasures(pair, work.lpips, work.truncate, work.calibration)
    figures: dict[str, dict[str, float]] = {}
    likelihoods: dict[str, dict[str, float]] = {}
    shown = []
    for i, method in enumerate(work.methods):
        progress(i / len(work.methods))
        row = method.row
        samples = method.samples(pair)
        figures[row.name], error = measures.measure(samples, row.deterministic)
        if row.model not in likelihoods:  # it is the same at every temperature
            bits = method.bits_per_dim(pair)
            likelihoods[row.model] = {} if bits is None else {"bits_per_dim": bits}
        figures[row.name] |= likelihoods[row.model]
        shown.append(RowImages(row, eight_bit(samples), error, method.origin))
    return figures, shown


def _write(work: Evaluation, results: Results, records: Records) -> list[Path]:
    """Write the report; returns its files."""
    texts = {"images.csv": images_csv(results), "results.json": json_text(results), "table.md": markdown_text(results)}
    contents = {name: text.encode(errors="backslashreplace") for name, text in texts.items()}
    origin = together((method.origin for method in work.methods), "plot")
    record = origin.model_copy(update={"notice": None}).record()
    if is_sweep(results.settings.rows):
        contents["sweep.png"] = sweep_png(results, record)
    if results.settings.calibration:
        states = {row: measures.state() for row, measures in records.measures.items()}
        contents["calibration.png"] = calibration_png(
            {row: (state["calibration_spread"], state["calibration_pit"]) for row, state in states.items()}, record
        )
    names = [record["name"] for record in results.records]
    added, chapter = work.addition.write(results, {name: records.panels(name) for name in names})
    written = added | contents
    for name, content in written.items():
        with _writing(work.output / name) as path:
            path.write_bytes(content)
    with (
        _writing(work.output / "index.html") as path,
        path.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        page = render_in_pieces(
            "page.html",
            results=results,
            title=title(results),
            caption=caption(results),
            chapter=Markup(chapter),
            table=table_of(results.table),
            plot=data_url(contents["sweep.png"]) if "sweep.png" in contents else None,
            calibration=data_url(contents["calibration.png"]) if "calibration.png" in contents else None,
            models=dict.fromkeys(f"{r.model} ({r.fingerprint})" for r in results.settings.rows if r.fingerprint),
            deviation_scale=DEVIATION_SCALE,
            sections=(Markup(records.section(name)) for name in names),
        )
        file.writelines(page)
    return [work.output / name for name in ("index.html", *written)]


@contextmanager
def _writing(path: Path) -> Iterator[Path]:
    """A file of the report, whole or absent."""
    with (
        explain_write_errors(path, "what was measured stays; make it writable, then start again"),
        atomic_path(path) as temporary,
    ):
        yield temporary


def _kernel_warnings(records: list[Record]) -> list[str]:
    """A warning if given LR images are not what the protocol would make."""
    known = [(r["agreement"], r["name"]) for r in records if r["agreement"] is not None]
    other = [(agreement, name) for agreement, name in known if agreement < SAME_KERNEL]
    if not other:
        return []
    worst, name = min(other)
    return [
        f"{len(other)} of {len(records)} LR images given are not the bicubic reduction (MATLAB's kernel) of their "
        f"photographs: {name} agrees to {worst:.1f} dB, where rounding alone would leave 55 or more. Models trained on "
        "bicubic LR images do worse on others, and these figures are not comparable with tables."
    ]
