"""A model's card, `card.json` beside it, and the page (README.md) for the hub made from it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError, model_validator
from yaml import YAMLError

from ncsr.config import FrozenModel, ModelConfig, explain
from ncsr.errors import InputError
from ncsr.runtime.files import read_small

CARD, PAGE = "card.json", "README.md"


class Card(FrozenModel):
    """The facts about a model that several places show, kept in one file."""

    licence: str | None = None
    """SPDX identifier of the weights' licence."""
    lpips: float | None = None
    """LPIPS of its samples (AlexNet, version 0.1, plain)."""
    measured_on: str | None = None
    """What `lpips` was measured on: temperature, photographs, samples of each."""
    calibrated_temperature: float | None = None
    """The temperature at which the spread of samples is nearest to the error of their mean (docs/calibration.md)."""
    base_model: str | None = None
    """The model that it was fine-tuned from, as the hub names it."""
    datasets: tuple[str, ...] = ()
    """The data sets that it was trained on, as the hub names them."""

    @model_validator(mode="after")
    def _check(self) -> Card:
        if (self.lpips is None) != (self.measured_on is None):
            raise ValueError("lpips and measured_on go together")
        return self


def read_card(folder: Path) -> Card | None:
    """The card of the model in a folder; None if it has none.

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    path = folder / CARD
    if not path.is_file():
        return None
    try:
        return Card.model_validate_json(read_small(path))
    except ValidationError as error:
        raise InputError(f"{path} is not the card of a model: {explain(error, Card)}") from None


def hub_page(repo: str, config: ModelConfig, card: Card, text: str | None) -> str:
    """The README.md for a model on the hub: metadata, by which it is found, then text.

    Args:
        repo: the repository, "owner/name".
        config: the model's.
        card: the facts for the metadata.
        text: the model's own README.md, whose metadata override these; None writes a short one.

    Raises:
        InputError: the text begins with metadata that cannot be read.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = None
    if card.lpips is not None and card.measured_on is not None:
        name = "LPIPS (AlexNet, version 0.1)"
        results = [EvalResult("image-to-image", "photographs", card.measured_on, "lpips", card.lpips, metric_name=name)]
    ours = ModelCardData(
        license=card.licence and card.licence.lower(),  # as the hub spells SPDX's identifiers
        library_name="ncsr",
        pipeline_tag="image-to-image",
        tags=["super-resolution", f"x{config.scale}", *([] if config.flow is None else ["normalizing-flow"])],
        base_model=card.base_model,
        datasets=list(card.datasets) or None,
        metrics=["lpips"] if results else None,
        model_name=repo.partition("/")[2] if results else None,
        eval_results=results,
    )
    text = text or _written(repo, config, card)
    try:
        own = ModelCard(text if text.startswith("---") else f"---\n{{}}\n---\n{text}")
        metadata = ModelCardData(**ours.to_dict() | own.data.to_dict())  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, YAMLError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{PAGE} begins with metadata that cannot be read: {reason}; correct them") from None
    return f"---\n{metadata.to_yaml()}\n---\n\n{own.text.lstrip()}"


def _written(repo: str, config: ModelConfig, card: Card) -> str:
    """The text for a model without a README.md."""
    kind, default = "an RRDB encoder: one image of each photograph", ""
    if config.flow is not None:
        kind = "a conditional normalizing flow: as many different images of a photograph as are wanted"
        default = f" The default temperature is {config.temperature:g}."
    licence = "No licence is named." if card.licence is None else f"The weights are under {card.licence}."
    return f"""# {repo.partition("/")[2]}

Super-resolution by {config.scale}, {kind}. {config.parameters / 1e6:.2f} million parameters.{default}

```sh
ncsr upscale photo.png -o out -m {repo}
```

```python
import ncsr

pictures = ncsr.upscale("photo.png", model="{repo}")
model = ncsr.load("{repo}")
```

It expects clean photographs that were reduced by bicubic.
Invented detail is plausible, not observed: not for identification or measurement.

{licence}
"""
