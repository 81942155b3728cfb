"""Skipping photographs that are done (`--skip-existing`): a manifest says which results a photograph has, made how.

A manifest is a small file in the hidden folder `.ncsr` beside the results. It is written after the last result and
removed before any of them is written again, so a photograph with a manifest is done.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncsr.model import NCSR
from ncsr.runtime.files import atomic_path, explain_write_errors, hidden_name, make_folder
from ncsr.runtime.parsing import parse_json
from ncsr.runtime.remote import Remote
from ncsr.upscaling.final_size import FinalSize
from ncsr.upscaling.image import sample_settings
from ncsr.upscaling.job import Job
from ncsr.upscaling.paths import Location
from ncsr.upscaling.resume_log import seed_in
from ncsr.upscaling.tiling import SampleRequest

_FOLDER = ".ncsr"


def manifest_settings(
    model: NCSR, request: SampleRequest, strip: bool, device: str, size: FinalSize | None = None
) -> dict[str, Any]:
    """Everything that decides the results of a photograph on this kind of device."""
    seed = request.seed if request.temperature else None
    own = {"scale": model.config.scale, "samples": request.samples, "strip": strip, "device": device, "seed": seed}
    own |= {} if size is None else {"size": list(size)}  # files of earlier versions do not have it
    return sample_settings(model, request) | own


def manifest_state(path: Path | Remote, target: Path | Remote, job: Job) -> tuple[Mapping[str, Any] | None, bool]:
    """The settings for a photograph's manifest (None: it gets none), and whether its manifest already has these."""
    if job.settings is None or (about := _size_and_version(path)) is None:
        return None, False
    settings = {**job.settings, "photograph": f"{about[0]} {about[1]}"}
    more = {"page": job.page_of(target), "quality": job.quality}  # files of earlier versions do not have them
    settings |= {name: value for name, value in more.items() if value is not None}
    return settings, is_up_to_date(target, settings, job.names(target))


def write_manifest(target: Path, settings: Mapping[str, Any], results: Sequence[Path]) -> None:
    """Write the manifest of a photograph whose results are complete.

    Args:
        target: the result's path before `_s0` and the like.
        settings: everything that decides the results, the photograph included; values that JSON holds.
        results: the files.

    Raises:
        InputError: it cannot be written.
    """
    path = manifest_path(target)
    files = {result.name: result.stat().st_size for result in results}
    make_folder(path.parent)
    with explain_write_errors(path, "choose another -o"), atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"settings": settings, "files": files}) + "\n", encoding="utf-8")


def remove_manifest(target: Path | Remote) -> None:
    """Remove the manifest, if there is one: the results are about to change."""
    path = manifest_path(target)
    with explain_write_errors(path, "choose another -o"):
        path.unlink(missing_ok=True)


def is_up_to_date(target: Path | Remote, settings: Mapping[str, Any], results: Sequence[Path | Remote]) -> bool:
    """Whether exactly these results were made with exactly these settings and are still there, in their sizes."""
    manifest = _read(target)
    if manifest is None or manifest["settings"] != settings or list(manifest["files"]) != [r.name for r in results]:
        return False
    return all((about := _size_and_version(r)) is not None and about[0] == manifest["files"][r.name] for r in results)


def manifest_seed(target: Path, settings: Mapping[str, Any]) -> int | None:
    """The seed in a photograph's manifest; None without a manifest whose other settings are these."""
    manifest = _read(target)
    return None if manifest is None else seed_in(manifest["settings"], settings)


def manifest_path(target: Location) -> Location:
    """Where the manifest of a photograph lies."""
    return target.parent / _FOLDER / hidden_name(f"{target.name}.json")


def _size_and_version(path: Path | Remote) -> tuple[int, str] | None:
    """The size of a file in bytes, and a token that changes when the file does; None if there is no such file."""
    if isinstance(path, Remote):
        return path.size_and_version()
    about = path.stat() if path.is_file() else None
    return None if about is None else (about.st_size, str(about.st_mtime_ns))


def _read(target: Path | Remote) -> dict[str, dict[str, Any]] | None:
    """A manifest; None if there is none, or something else lies in its place."""
    try:
        manifest = parse_json(manifest_path(target).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    parts = (manifest.get("settings"), manifest.get("files")) if isinstance(manifest, dict) else ()
    return manifest if parts and all(isinstance(part, dict) for part in parts) else None
