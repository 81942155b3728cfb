"""Starting from another model's weights; what trainers keep of it is tested with them."""

from __future__ import annotations

import pytest
import torch

import ncsr
from ncsr.errors import InputError
from ncsr.training.initialisation import load_matching
from tests.conftest import TINY


def test_load_matching_refuses_other_architectures(tiny_model: ncsr.NCSR) -> None:
    wide = ncsr.NCSR(TINY.model_copy(update={"encoder": ncsr.EncoderConfig(features=9, growth=4, blocks=2)}))
    with pytest.raises(InputError, match=r"wide cannot start this model: encoder\.\S+ has another shape"):
        load_matching(tiny_model, wide.state_dict(), "wide")
    with pytest.raises(InputError, match=r"other cannot start this model: they share no parameter"):
        load_matching(tiny_model, {"weight": torch.zeros(3)}, "other")
