"""Manifests: they say what was made, and whether it is still there."""

from __future__ import annotations

import json
from pathlib import Path

from ncsr.upscaling.manifest import is_up_to_date, manifest_seed, remove_manifest, write_manifest


def test_a_manifest_says_what_was_made(tmp_path: Path) -> None:
    target, settings = tmp_path / "photo.png", {"model": "a", "seed": 3}
    results = [tmp_path / "photo_s0.png", tmp_path / "photo_s1.png"]
    for result in results:
        result.write_text("pixels")
    assert manifest_seed(target, {}) is None
    assert not is_up_to_date(target, settings, results)
    write_manifest(target, settings, results)
    assert is_up_to_date(target, settings, results)
    assert manifest_seed(target, {"model": "a", "seed": 7}) == 3
    assert manifest_seed(target, {"model": "b"}) is None  # whose samples of that seed are others
    assert not is_up_to_date(target, {"seed": 4}, results)
    assert not is_up_to_date(target, settings, results[:1])
    assert not is_up_to_date(target, settings, [*results, target])
    json.loads((tmp_path / ".ncsr" / "photo.png.json").read_text())
    results[1].write_text("half")
    assert not is_up_to_date(target, settings, results)
    (tmp_path / ".ncsr" / "photo.png.json").write_text("[" * 10**5)  # nested deeper than Python's stack
    assert manifest_seed(target, {}) is None
    remove_manifest(target)
    remove_manifest(target)
    assert manifest_seed(target, {}) is None
