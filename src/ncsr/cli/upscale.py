"""`ncsr upscale`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from ncsr.cli.options import (
    MAX_PIXELS,
    AllowIncomplete,
    Consistent,
    Deviation,
    DeviationFormat,
    Device,
    FactorOption,
    Format,
    Inputs,
    Json,
    MaxPixels,
    ModelName,
    Output,
    Page,
    PrecisionName,
    Quality,
    Quiet,
    RayAddress,
    Recursive,
    Samples,
    Scale,
    Seed,
    Sheet,
    Sidecar,
    SizeOption,
    SkipExisting,
    Strip,
    Temperature,
    Tile,
    load_model,
    parse_final_size,
    parse_tile,
)
from ncsr.errors import InputError, printable
from ncsr.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from ncsr.cli.piping import Piped
    from ncsr.model import NCSR
    from ncsr.runtime.ray_pool import Workers
    from ncsr.runtime.remote import Remote
    from ncsr.upscaling.job import Job, UpscaleResult
    from ncsr.upscaling.paths import Plan
    from ncsr.upscaling.tiling import SampleRequest


def upscale(
    context: typer.Context,
    inputs: Inputs,
    output: Output,
    model: ModelName = None,
    scale: Scale = None,
    factor: FactorOption = None,
    size: SizeOption = None,
    samples: Samples = 4,
    temperature: Temperature = None,
    seed: Seed = None,
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    sheet: Sheet = False,
    std: Deviation = False,
    std_format: DeviationFormat = None,
    form: Format = None,
    quality: Quality = None,
    page: Page = None,
    strip: Strip = False,
    sidecar: Sidecar = False,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_incomplete: AllowIncomplete = False,
    ray: RayAddress = None,
    quiet: Quiet = False,
    json: Json = False,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    A run that was stopped within a photograph in tiles continues there when it is started again.
    With --skip-existing, a run that is started again leaves out the photographs that are done.
    With --ray, INPUT and OUTPUT may be URLs: s3://bucket/folder and whatever else fsspec has a driver for.
    """
    from ncsr.cli.forms import check_pipes, check_quality_used, parse_format, parse_page, parse_std_format
    from ncsr.cli.piping import receive
    from ncsr.pretrained.load import default_model, scale_for
    from ncsr.runtime.ray_pool import workers_at
    from ncsr.space.checks import check_sampling
    from ncsr.upscaling.job import Job
    from ncsr.upscaling.manifest import manifest_settings
    from ncsr.upscaling.paths import check_results
    from ncsr.upscaling.provenance import model_name
    from ncsr.upscaling.tile_size import check_tile
    from ncsr.upscaling.tiling import SampleRequest

    final = parse_final_size(size, factor)
    suffix, number, std_suffix = parse_format(form), parse_page(page), parse_std_format(std_format)
    std |= std_format is not None
    piped = receive(context, inputs, output, suffix or ".png")
    if piped.names:
        cannot = (json and piped.sends) or skip_existing or ray is not None or page == "all"
        samples = check_pipes(context, piped, samples, cannot)
    work = _work(piped, suffix, consistent, recursive, all_pages=page == "all", by_ray=ray is not None)
    targets = [target for _, target in work.plan]
    check_quality_used(quality, targets, consistent)
    fresh = seed is None
    seed = check_sampling(samples, 0.0 if temperature is None else temperature, seed)
    side = parse_tile(tile)
    with workers_at(ray, device) as workers:
        if workers is not None:
            device, precision = "cpu", workers.precision(precision)
        network = load_model(model, scale_for(model, scale, factor), device, precision)
        check_tile(side)
        if final is not None:
            final.check(network.config.scale, consistent)
        temperature = network.config.temperature if temperature is None else temperature
        samples = 1 if temperature == 0 else samples
        if std and samples == 1:
            raise InputError("--std needs samples that differ: at least 2 (-n) at a temperature above 0 (-t)")
        request = SampleRequest(samples, temperature, seed, side, consistent)
        if fresh:
            request = request._replace(seed=_resumed_seed(targets, network, request, skip_existing))
        kind = network.device.type if workers is None else workers.device
        settings = manifest_settings(network, request, strip, kind, final) if skip_existing else None
        name = model_name(default_model(network.config.scale) if model is None else model)
        job = Job(
            network,
            request,
            sheet=sheet,
            std=std,
            strip=strip,
            max_pixels=max_pixels,
            model_name=name,
            sidecar=sidecar,
            settings=settings,
            allow_incomplete=allow_incomplete,
            size=final,
            measure=json,
            quality=quality,
            std_suffix=std_suffix,
            page=number,
            pages=work.pages,
        )
        check_results(work.plan, job.names)
        _make_folders(work)
        if json:
            print(*(dumps({"error": failure}) + "\n" for failure in work.failures), sep="", end="", flush=True)
        with ProgressBar(len(work.plan), quiet=quiet) as bar:
            made = _enlarged(work, job, workers, bar, piped)
            failed, skipped = _tell(made, job, piped, bar, request.seed if fresh and temperature > 0 else None, json)
    _conclude(work, failed, skipped, piped, quiet)


class _Work(NamedTuple):
    """The photographs to enlarge with their results, and sentences about the arguments.

    Attributes:
        plan: photographs, each with the path of its result before `_s0` and the like.
        pages: with --page all, the page by the path of the result.
        folder: the folder of the results.
        failures: sentences about arguments that hold no photograph.
        notes: sentences about what is left out.
    """

    plan: Plan
    pages: dict[Path | Remote, int]
    folder: Path | Remote
    failures: list[str]
    notes: list[str]


def _work(
    piped: Piped, suffix: str | None, consistent: bool, recursive: bool, *, all_pages: bool, by_ray: bool
) -> _Work:
    """Find the photographs of the arguments, and name their results."""
    from ncsr.upscaling.paths import plan_results, with_pages

    *sources, results = _locations([*piped.inputs, piped.output], urls=by_ray)
    plan, failures, notes = plan_results(sources, results, consistent=consistent, recursive=recursive, form=suffix)
    to_folder = not plan or plan[0][1] != results
    plan, pages = with_pages(plan) if all_pages else (plan, {})
    if pages and (by_ray or not to_folder):
        raise InputError("--page all makes several results, on this machine: give a folder with -o, and no --ray")
    return _Work(plan, pages, results if to_folder else results.parent, failures, notes)


def _make_folders(work: _Work) -> None:
    """Make the folder of the results, and remove temporary files that killed runs left in it and in those inside."""
    from ncsr.runtime.files import make_folder
    from ncsr.runtime.locks import remove_abandoned
    from ncsr.upscaling.manifest import manifest_path

    if work.plan and isinstance(work.folder, Path):
        make_folder(work.folder)
        for folder in {target.parent for _, target in work.plan if isinstance(target, Path)}:
            remove_abandoned(folder)
            remove_abandoned(manifest_path(folder / "_").parent)


def _enlarged(
    work: _Work, job: Job, workers: Workers | None, bar: ProgressBar, piped: Piped
) -> Iterable[UpscaleResult]:
    """Enlarge the photographs here, or by the workers of a cluster."""
    from ncsr.upscaling.on_ray import enlarge_by
    from ncsr.upscaling.pipeline import enlarge_all, queue_photo

    if workers is not None:
        return enlarge_by(workers, work.plan, job, bar.update_part)
    queue = map(partial(queue_photo, job), work.plan)
    return enlarge_all(queue, job, bar.update_part, lambda note: bar.warn(piped.named(note)))


def _conclude(work: _Work, failed: dict[Path | Remote, list[str]], skipped: int, piped: Piped, quiet: bool) -> None:
    """Print the summary and the failures of the run; exit with 1 or 2 if there are failures."""
    done = len(work.plan) - sum(map(len, failed.values()))
    photographs = dict.fromkeys(path for path, _ in work.plan)
    failures = [*work.failures, *(each for path in photographs for each in failed.get(path, ()))]
    if skipped and not quiet:
        print(f"left out {skipped} of {len(work.plan)}: made before with the same settings", file=sys.stderr)
    for failure in failures if quiet else work.notes + failures:
        print(f"ncsr: {printable(piped.named(failure))}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if done else 2)


def _tell(
    made: Iterable[UpscaleResult], job: Job, piped: Piped, bar: ProgressBar, seed: int | None, json: bool
) -> tuple[dict[Path | Remote, list[str]], int]:
    """Print the result of each photograph when it is done, and before the first one the seed.

    Args:
        made: the results, computed while they are iterated over.
        job: what is done to each photograph.
        piped: the arguments.
        bar: the progress bar to print past.
        seed: a seed that was drawn, not given; None prints none.
        json: print JSON lines instead of paths.

    Returns:
        The failures by photograph, and how many photographs were skipped.
    """
    from ncsr.cli.piping import send
    from ncsr.cli.records import json_lines

    failed: dict[Path | Remote, list[str]] = {}
    skipped, seed_line = 0, [] if seed is None else [f"seed {seed}"]

    def tell_seed() -> None:
        while seed_line:
            bar.print(seed_line.pop(), error=True)

    try:
        for result in made:
            skipped += result.skipped
            if result.failure is not None:
                failed.setdefault(result.path, []).append(result.failure)
            elif result.paths:
                tell_seed()  # before the first result, so that it is known however the run ends
                if piped.sends:
                    send(Path(result.paths[0]))
                elif not json:
                    bar.print(*result.paths)
            if json:
                bar.print(*map(piped.named, json_lines(result, job)))
            for note in result.notes:
                bar.warn(piped.named(note))
    except KeyboardInterrupt:  # there may be results whose paths were not printed yet
        tell_seed()
        raise
    return failed, skipped


def _locations(texts: Sequence[str], urls: bool) -> list[Path | Remote]:
    """The paths and, if `urls` are allowed, URLs that arguments name."""
    from ncsr.runtime.remote import Remote, parse_location

    locations = [parse_location(text) for text in texts]
    for location in locations:
        if isinstance(location, Remote) and not urls:
            raise InputError(f"{location} is a URL: add --ray, whose workers fetch and store files there")
    return locations


def _resumed_seed(targets: Sequence[Path | Remote], network: NCSR, request: SampleRequest, skip_existing: bool) -> int:
    """The seed to use: that of an earlier run to go on with, or else the request's.

    An earlier run is one that was stopped or, with `--skip-existing`, one that left manifests; all its settings but the
    seed must be those of the request.

    Raises:
        InputError: `--skip-existing` with results behind a URL: looking for manifests would take a request for each.
    """
    from ncsr.runtime.remote import Remote
    from ncsr.upscaling.image import sample_settings
    from ncsr.upscaling.manifest import manifest_seed
    from ncsr.upscaling.resume_log import resumable_seed

    settings = sample_settings(network, request)
    del settings["device"]  # with --ray it is the workers' device that counts, which is not known here
    for target in targets:
        if isinstance(target, Remote):
            if skip_existing:
                raise InputError("--skip-existing needs --seed where -o is a URL: the seed that its results have")
            break
        seed = resumable_seed(target, settings)
        if seed is None and skip_existing:
            seed = manifest_seed(target, settings)
        if seed is not None:
            return seed
    return request.seed
