"""`ncsr upscale`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ncsr.cli.completion import names
from ncsr.cli.options import (
    MAX_PIXELS,
    AllowIncomplete,
    Consistent,
    Device,
    FactorOption,
    MaxPixels,
    ModelName,
    PrecisionName,
    RayAddress,
    Recursive,
    Samples,
    Scale,
    SizeOption,
    SkipExisting,
    Tile,
    load_model,
    parse_final_size,
    parse_tile,
)
from ncsr.errors import InputError, printable
from ncsr.runtime.progress import ProgressBar

if TYPE_CHECKING:
    from ncsr.cli.piping import Piped
    from ncsr.runtime.remote import Remote
    from ncsr.upscaling.job import Job, UpscaleResult


def upscale(
    context: typer.Context,
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT", help="Photographs, or folders of them; - for one from standard input.", show_default=False
        ),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            help="Folder for the results; for a single photograph also a file name, or - for one image to standard "
            "output.",
        ),
    ],
    model: ModelName = None,
    scale: Scale = None,
    factor: FactorOption = None,
    size: SizeOption = None,
    samples: Samples = 4,
    temperature: Annotated[
        float | None,
        typer.Option(
            "-t",
            "--temperature",
            help="Variety: 0 gives one smooth image, higher more detail and more invention.",
            show_default="the model's",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Makes the samples repeatable.", show_default="a fresh one, printed"),
    ] = None,
    tile: Tile = "auto",
    consistent: Consistent = False,
    device: Device = "auto",
    precision: PrecisionName = "auto",
    sheet: Annotated[bool, typer.Option("--sheet", help="Also write a contact sheet of all of them.")] = False,
    std: Annotated[
        bool, typer.Option("--std", help="Also write where the samples differ, the standard-deviation map.")
    ] = False,
    std_format: Annotated[
        str | None,
        typer.Option(
            metavar="png|tiff|npy",
            help="Of that map, which it asks for, too: png is gray, white 32 levels of 255 or more; tiff and npy hold "
            "the deviation itself in float32, 1 being the whole range from black to white.",
            show_default="png",
            autocompletion=names("png", "tiff", "npy"),
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="png|jpg|webp|tiff|avif|jxl",
            help="Of the results.",
            show_default="the photograph's, or png where that is not written",
            autocompletion=names("png", "jpg", "webp", "tiff", "avif", "jxl"),
        ),
    ] = None,
    quality: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=100,
            help="Of jpg and avif (95 unless it is given), of webp and jxl (lossless unless it is given; jxl at 100, "
            "too). png, tiff and bmp have none.",
            show_default=False,
        ),
    ] = None,
    page: Annotated[
        str | None,
        typer.Option(
            metavar="N|all",
            help="Of TIFF files, or the frame of GIF, PNG, WebP and AVIF; all makes photo_p1, photo_p2, ... of each.",
            show_default="the first; a sentence says if there are more",
        ),
    ] = None,
    strip: Annotated[
        bool, typer.Option("--strip", help="Leave out EXIF, XMP, texts, resolution, colour profile and provenance.")
    ] = False,
    sidecar: Annotated[
        bool, typer.Option("--sidecar", help="Also write each image's provenance beside it, as IMAGE.json.")
    ] = False,
    recursive: Recursive = False,
    skip_existing: SkipExisting = False,
    max_pixels: MaxPixels = MAX_PIXELS,
    allow_incomplete: AllowIncomplete = False,
    ray: RayAddress = None,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Nothing but errors on standard error.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="A line of JSON for every image and every failure on standard output.")
    ] = False,
) -> None:
    """Enlarge photographs: several plausible, sharp, different images of each.

    photo.png becomes OUTPUT/photo_s0.png, photo_s1.png, ...; with -n 1 or -t 0, OUTPUT/photo.png.
    What a sample shows beyond the photograph is invented: plausible, not observed.
    A run that was stopped goes on where it was when it is started again.
    With --ray, INPUT and OUTPUT may be URLs: s3://bucket/folder and whatever else fsspec has a driver for.
    """
    from ncsr.cli.forms import check_pipes, check_quality_used, parse_format, parse_page, parse_std_format
    from ncsr.cli.piping import receive
    from ncsr.pretrained.load import default_model, scale_for
    from ncsr.runtime.files import make_folder
    from ncsr.runtime.locks import remove_abandoned
    from ncsr.runtime.ray_pool import workers_at
    from ncsr.space import check_sampling
    from ncsr.upscaling.job import Job
    from ncsr.upscaling.manifest import manifest_path, manifest_settings
    from ncsr.upscaling.on_ray import enlarge_by
    from ncsr.upscaling.paths import check_results, plan_results, with_pages
    from ncsr.upscaling.pipeline import enlarge_all, queue_photo
    from ncsr.upscaling.provenance import model_name
    from ncsr.upscaling.tile_size import check_tile
    from ncsr.upscaling.tiling import SampleRequest

    final = parse_final_size(size, factor)
    suffix, number, std_suffix = parse_format(form), parse_page(page), parse_std_format(std_format)
    std |= std_format is not None
    piped = receive(context, inputs, output, suffix or ".png")
    if piped.names:
        samples = check_pipes(
            context, piped, samples, (json and piped.sends) or skip_existing or ray is not None or page == "all"
        )
    *sources, results = _locations([*piped.inputs, piped.output], urls=ray is not None)
    plan, failures, notes = plan_results(sources, results, consistent=consistent, recursive=recursive, form=suffix)
    check_quality_used(quality, [target for _, target in plan], consistent)
    to_folder = not plan or plan[0][1] != results
    plan, pages = with_pages(plan) if page == "all" else (plan, {})
    if pages and not (to_folder and ray is None):
        raise InputError("--page all makes several results, on this machine: give a folder with -o, and no --ray")
    fresh = seed is None
    if fresh:
        seed = _resumed_seed([target for _, target in plan], skip_existing)
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
        kind = network.device.type if workers is None else workers.device
        settings = manifest_settings(network, request, strip, kind, final) if skip_existing else None
        name = model_name(default_model(network.config.scale) if model is None else model)
        job = Job(network, request, sheet, std, strip, max_pixels, name, sidecar, settings, allow_incomplete)
        job = replace(job, size=final, measure=json, quality=quality, std_suffix=std_suffix, page=number, pages=pages)
        check_results(plan, job.names)
        if plan and isinstance(results, Path):
            make_folder(results if to_folder else results.parent)
            for folder in {target.parent for _, target in plan if isinstance(target, Path)}:
                remove_abandoned(folder)
                remove_abandoned(manifest_path(folder / "_").parent)
        if json:
            print(*(dumps({"error": failure}) + "\n" for failure in failures), sep="", end="", flush=True)
        with ProgressBar(len(plan), quiet=quiet) as bar:
            if workers is None:
                made = enlarge_all(
                    map(partial(queue_photo, job), plan),
                    job,
                    bar.update_part,
                    lambda note: bar.warn(piped.named(note)),
                )
            else:
                made = enlarge_by(workers, plan, job, bar.update_part)
            failed, skipped = _tell(made, job, piped, bar, seed if fresh and temperature > 0 else None, json)
    done = len(plan) - sum(map(len, failed.values()))
    failures += [each for path in dict.fromkeys(path for path, _ in plan) for each in failed.get(path, ())]
    if skipped and not quiet:
        print(f"left out {skipped} of {len(plan)}: made before with the same settings", file=sys.stderr)
    for failure in failures if quiet else notes + failures:
        print(f"ncsr: {printable(piped.named(failure))}", file=sys.stderr)
    if failures:
        raise typer.Exit(1 if done else 2)


def _tell(
    made: Iterable[UpscaleResult], job: Job, piped: Piped, bar: ProgressBar, seed: int | None, json: bool
) -> tuple[dict[Path | Remote, list[str]], int]:
    """Say of each photograph what became of it, as it is done, and of all what `seed` was drawn.

    Returns the failures of each photograph, and how many were left out.
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
                tell_seed()  # before the first result: whatever stops the run, its results can be made again
                if piped.sends:
                    send(Path(result.paths[0]))
                elif not json:
                    bar.print(*result.paths)
            if json:
                bar.print(*map(piped.named, json_lines(result, job)))
            for note in result.notes:
                bar.warn(piped.named(note))
    except KeyboardInterrupt:  # results may be there that were not told of yet
        tell_seed()
        raise
    return failed, skipped


def _locations(texts: Sequence[str], urls: bool) -> list[Path | Remote]:
    """The paths and, if `urls` are right, URLs that arguments name."""
    from ncsr.runtime.remote import Remote, parse_location

    locations = [parse_location(text) for text in texts]
    for location in locations:
        if isinstance(location, Remote) and not urls:
            raise InputError(f"{location} is a URL: add --ray, whose workers fetch and store files there")
    return locations


def _resumed_seed(targets: Sequence[Path | Remote], skip_existing: bool) -> int | None:
    """The seed of a run that was stopped or, with `--skip-existing`, of the manifests, if there is one to go on with.

    Raises:
        InputError: there may be manifests behind a URL; looking for them there would take a request per photograph.
    """
    from ncsr.runtime.remote import Remote
    from ncsr.upscaling.manifest import manifest_seed
    from ncsr.upscaling.resume_log import resumable_seed

    for target in targets:
        if isinstance(target, Remote):
            if skip_existing:
                raise InputError("--skip-existing needs --seed where -o is a URL: the seed that its results have")
            return None
        seed = resumable_seed(target)
        if seed is None and skip_existing:
            seed = manifest_seed(target)
        if seed is not None:
            return seed
    return None
