"""The log of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from lightning_fabric import Fabric

from ncsr.training.trainer import Trainer
from tests.training.conftest import (
    make_recipe,
    make_run,
)


def test_negative_bits_are_explained_once(
    fabric: Fabric, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    advance = Trainer.advance
    monkeypatch.setattr(Trainer, "advance", lambda trainer, batch: advance(trainer, batch)._replace(loss=-1.5))
    run = make_run(make_recipe(), tmp_path, fabric)
    run.begin()
    run.train()
    err = capsys.readouterr().err
    assert err.count("The loss fell below zero, as it should") == 1
    assert "step 4 of 4: " in err
    assert "bits/dim (latents" in err
