"""Model folders, checkpoints, recipes and settings that nobody meant well with, each with what the sentence says.

A case is made in an empty folder and then read; `run_all` reads all of them, for a process with little memory.
"""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ncsr.cli.train import _override
from ncsr.errors import InputError
from ncsr.pretrained.load import load
from ncsr.pretrained.published import convert
from ncsr.serialization import read_checkpoint
from ncsr.training.recipe import load_recipe
from tests.models import lively_model
from tests.parity import reference_state

FLOW = "flowUpsamplerNet.layers"
LAUGHS = "a: &a [x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)

MODEL = lively_model(dtype=torch.float32)
STATE = MODEL.state_dict()
CONFIG: dict[str, Any] = MODEL.config.model_dump(mode="json")
CONV1X1 = next(key for key in STATE if key.endswith("conv1x1.weight"))
BIAS = next(key for key in STATE if key.endswith("bias"))


def changed(**values: Any) -> str:
    """The configuration with other values; `flow__steps` is the flow's `steps`."""
    config = json.loads(json.dumps(CONFIG))
    for key, value in values.items():
        *parts, last = key.split("__")
        (config[parts[0]] if parts else config)[last] = value
    return json.dumps(config)


CONFIGS: dict[str, tuple[str, str]] = {  # config.json in a folder with whole weights
    "features": (changed(encoder__features=10**6), "features may be at most 4096, got 1000000: NCSR_UNLIMITED=1"),
    "growth": (changed(encoder__growth=10**9), "growth may be at most 4096"),
    "blocks": (changed(encoder__blocks=10**5), "blocks may be at most 256, got 100000"),
    "steps": (changed(flow__steps=10**5), "steps may be at most 256"),
    "hidden": (changed(flow__hidden=10**6), "hidden may be at most 4096"),
    "stacked blocks": (changed(flow__stacked_blocks=[0] * 10**4), "the length of stacked_blocks may be at most 256"),
    "no stacked blocks": (changed(flow__stacked_blocks=[]), "flow.stacked_blocks: Tuple should have at least 1 item"),
    "levels": (changed(flow__levels=10**6), r"noise_steps needs one number per level \(1000000\)"),
    "noise steps": (changed(flow__noise_steps=[1] * 10**4), "noise_steps needs one number per level"),
    "all that the fields allow": (
        changed(encoder={"features": 4096, "growth": 4096, "blocks": 256}),
        r"a model's parameters may be at most 200000000, got \d+: NCSR_UNLIMITED=1 in the environment lifts",
    ),
    "a long number": (changed(encoder__blocks=int("9" * 4000)), "blocks may be at most 256, got 9+\\.\\.\\.9+:"),
    "a longer one": ('{"scale": ' + "9" * 5000 + "}", "is not valid"),
    "depth": ('{"a": ' * 10**4, "is not valid"),
    "100 MiB": (" " * 100 * 2**20, r"config\.json is longer than 65536 bytes"),
    "many unknown keys": (json.dumps({f"key {i}": i for i in range(2000)}), "unknown key .*; and 1997 more faults"),
    "an unknown key of escapes": (changed(**{"\x1b[31m\n": 1}), r"unknown key '\\x1b\[31m\\n'"),
    "infinity": ('{"temperature": 1e999}', "temperature: Input should be a finite number, got inf"),
    "no number": ('{"temperature": NaN}', "temperature: Input should be"),
    "other blocks": (changed(flow__stacked_blocks=[1, 0]), r"config\.json may change the temperature alone"),
    "other weights": (
        changed(encoder__features=5),
        r"do not fit their configuration: config\.json may change the temperature alone",
    ),
}

WEIGHTS: dict[str, tuple[dict[str, torch.Tensor], str]] = {  # in place of a model's, with its configuration
    "zero": ({CONV1X1: torch.zeros_like(STATE[CONV1X1])}, "conv1x1.weight' is singular"),
    "of rank one": ({CONV1X1: torch.ones_like(STATE[CONV1X1])}, "conv1x1.weight' is singular"),
    "NaN": ({BIAS: torch.full_like(STATE[BIAS], torch.nan)}, "holds numbers that are not finite"),
    "infinite": ({BIAS: torch.full_like(STATE[BIAS], -torch.inf)}, "holds numbers that are not finite"),
    "complex": ({BIAS: STATE[BIAS].to(torch.complex64)}, r"is torch\.complex64, expected floating point"),
    "integers": ({BIAS: STATE[BIAS].int()}, r"is torch\.int32, expected floating point"),
    "one more": ({"more": torch.zeros(3)}, "numbers instead of"),
}

HEADERS: dict[str, tuple[bytes, str]] = {  # of a safetensors file with 256 MiB of nothing behind it
    "none": (b"", "cannot read the model"),
    "long": (b" " * (2**24 + 8), "its header is too large"),
    "deep": (b"[" * 10**5, "cannot read the model"),
    "deep configuration": (json.dumps({"__metadata__": {"config": "[" * 10**5}}).encode(), "cannot read the model"),
    "huge": (
        json.dumps(
            {
                "__metadata__": {"config": json.dumps(CONFIG)},
                "a": {"dtype": "F32", "shape": [2**26], "data_offsets": [0, 2**28]},
            }
        ).encode(),
        r"67108864 numbers instead of \d+",
    ),
}


def encoder() -> dict[str, torch.Tensor]:
    return reference_state("esrgan_tiny")


def flow() -> dict[str, torch.Tensor]:
    return reference_state("ncsr_x4_tiny")


INVCONV, FIRST = f"{FLOW}.1.invconv.weight", "conv_first.weight"
BLOCK = "RRDB_trunk.{}.RDB1.conv1.weight"
EXPANDED = {"conv_first.weight": (4096, 3, 3, 3)}

CHECKPOINTS: dict[str, tuple[Callable[[], Any], str]] = {
    "block 10^7": (lambda: encoder() | {BLOCK.format(10**7): torch.zeros(1)}, "missing: .*unexpected: .*10000000"),
    "block of 5000 digits": (lambda: encoder() | {BLOCK.format("9" * 5000): torch.zeros(1)}, "unexpected: "),
    "300 blocks": (
        lambda: encoder() | {BLOCK.format(i): torch.zeros(1) for i in range(300)},
        "blocks may be at most 256, got 300: NCSR_UNLIMITED=1",
    ),
    "layer 10^9": (lambda: flow() | {f"{FLOW}.999999999.affine.x": torch.zeros(1)}, "do not form levels"),
    "layer of 5000 digits": (lambda: flow() | {f"{FLOW}.{'9' * 5000}.affine.x": torch.zeros(1)}, "unexpected: "),
    "300 doublings": (
        lambda: encoder() | {f"upconv{i}.weight": torch.zeros(1) for i in range(1, 301)},
        r"enlarges by 2\^300; 4 and 8",
    ),
    "wide": (lambda: encoder() | {FIRST: torch.zeros(5000, 3, 3, 3)}, "features may be at most 4096, got 5000"),
    "wide views": (
        lambda: {key: torch.zeros(1).expand(2000, 2000, *value.shape[2:]) for key, value in encoder().items()},
        r"a model's parameters may be at most|\d+ numbers of \d+",
    ),
    "views": (lambda: {k: torch.zeros(1).expand(v.shape) for k, v in encoder().items()}, r"72 numbers of \d+"),
    "no axes": (lambda: dict.fromkeys(encoder(), torch.tensor(1.0)), r"has the shape \(\), so the architecture"),
    "no values": (lambda: {key: value[:0] for key, value in encoder().items()}, "features: Input should be greater"),
    "60 axes": (lambda: dict.fromkeys(encoder(), torch.zeros([1] * 60)), r"numbers of \d+"),
    "long keys": (lambda: encoder() | {"\x1b\n" * 10**5: torch.zeros(1)}, "unexpected: "),
    "many keys": (lambda: encoder() | {f"k{i}": torch.zeros(1) for i in range(300)}, "k0, k1 and 298 more"),
    "sparse": (lambda: encoder() | {FIRST: encoder()[FIRST].to_sparse()}, "torch.sparse_coo, cpu: expected real"),
    "quantised": (
        lambda: encoder() | {FIRST: torch.quantize_per_tensor(encoder()[FIRST], 0.1, 0, torch.qint8)},
        "torch.qint8",
    ),
    "complex": (lambda: encoder() | {FIRST: encoder()[FIRST].to(torch.complex64)}, "torch.complex64"),
    "meta": (lambda: encoder() | {FIRST: encoder()[FIRST].to("meta")}, "torch.strided, meta: expected real numbers"),
    "NaN": (lambda: encoder() | {FIRST: encoder()[FIRST] * torch.nan}, "'encoder.first.weight' holds numbers that are"),
    "infinite": (lambda: encoder() | {FIRST: encoder()[FIRST] / 0}, "'encoder.first.weight' holds numbers that are"),
    "singular": (lambda: flow() | {INVCONV: torch.ones_like(flow()[INVCONV])}, "conv1x1.weight' is singular"),
    "1x1 without axes": (lambda: flow() | {INVCONV: torch.tensor(1.0)}, r"invconv\.weight \(\) instead of \(12, 12\)"),
}

PICKLES: dict[str, bytes] = {
    "4 GiB of zeros": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x01\x85R.",
    "depth": b"\x80\x02" + b"]" * 10**5 + b"a" * (10**5 - 1) + b".",
    "command": b"cos\nsystem\n(S'false'\ntR.",
    "tensor of 64 GiB": b"\x80\x02ctorch\nTensor\n\x8a\x05\x00\x00\x00\x00\x04\x85R.",
    "text": pickle.dumps("x" * 1000),
}

RECIPES: dict[str, tuple[str, str]] = {  # below `inherit: x4-small`
    "aliases": (LAUGHS, r"aliases \(\*name\) and tags"),
    "an alias of itself": ("a: &a [*a]", "aliases"),
    "depth": ("a: " + "[" * 10**4, "20 lists in one another"),
    "depth by indentation": ("\n".join(" " * i + "a:" for i in range(100)), "20 lists in one another"),
    "length": ("a: b\n" * 10**5, "is longer than"),
    "a tag": ("steps: !!int abc", r"aliases \(\*name\) and tags \(!name\) are not read"),
    "code": ("steps: !!python/object/apply:os.system [false]", "tags"),
    "a date": ("seed: 2020-01-01", "seed: Input should be a valid integer.*got '2020-01-01'"),
    "no date": ("seed: 2020-13-45", "seed: Input should be a valid integer"),
    "5000 digits": ("steps: " + "9" * 5000, "more than 1000 characters"),
    "900 digits": ("steps: " + "9" * 900, r"steps: Input should be less than 4294967296, got 9+\.\.\.9+$"),
    "900 digits of base 16": ("steps: 0x" + "f" * 900, "steps: Input should be less than"),
    "no digits": ("steps: 0b_", "is not valid YAML"),
    "base 60": ("steps: " + ":".join(["59"] * 300) + ".5", "is not valid YAML"),
    "a list for a key": ("? [a]\n: b", "is not valid YAML"),
    "a number for a key": ("3: 4", "3: Keys should be strings, got 3"),
    "a key twice": ("steps: 1\nsteps: 2", "a key stands twice"),
    "two documents": ("--- a", "is not valid YAML"),
    "no text": ("a: \x00", "is not valid YAML"),
    "escapes": ('"\\e[31m": 1', r"unknown key '\\x1b\[31m'"),
    "merging": ("<<: [1]", "unknown key '<<'"),
    "batch": (
        "batch: 1000000000",
        r"the pixels of a batch \(batch x crop x crop\) may be at most 100000000.*NCSR_UNLIM",
    ),
    "crop": ("crop: 1000000000", "crop: Input should be less than 65536"),
    "features": (
        "model: {encoder: {features: 1000000}}",
        "features may be at most 4096, got 1000000: NCSR_UNLIMITED=1",
    ),
    "steps of the flow": ("model: {flow: {steps: 100000}}", "steps may be at most 256, got 100000"),
    "temperatures": ("validate_temperatures: [" + "1, " * 9000 + "1]", "at most 100 items"),
    "many unknown keys": ("\n".join(f"k{i}: 1" for i in range(900)), "and 897 more faults"),
    "no mapping": ("model: [1]", "model: Input should be a valid dictionary"),
}

SETTINGS: dict[str, tuple[str, str]] = {
    "aliases": ("steps=[&a [x, x], *a, *a]", r"--set 'steps': .* is not a YAML value: aliases"),
    "a tag": ("steps=!!int abc", "is not a YAML value: aliases .* and tags"),
    "depth": ("steps=" + "[" * 10**4, "20 lists in one another"),
    "5000 digits": ("steps=" + "9" * 5000, "more than 1000 characters"),
    "a date": ("steps=2020-13-45", "steps: Input should be a valid integer.*got '2020-13-45'"),
    "keys in one another": ("steps" + ".a" * 10**4 + "=1", "steps: Input should be a valid integer"),
    "a long key": ("a" * 10**5 + "=1", "unknown key 'aaa"),
    "no value": ("x" * 10**5, "--set takes KEY=VALUE, got 'xxx"),
    "batch": ("batch=1e9", "batch: Input should be|the pixels of a batch"),
    "blocks": ("model.encoder.blocks=100000", "blocks may be at most 256"),
}


def _read_config(folder: Path, text: str) -> None:
    MODEL.save(folder)
    (folder / "config.json").write_text(text)
    load(folder, "cpu")


def _read_weights(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    save_file(STATE | weights, folder / "model.safetensors", metadata={"config": json.dumps(CONFIG)})
    load(folder, "cpu")


def _read_header(folder: Path, header: bytes) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + 2**28)  # takes no room
    load(folder, "cpu")


def _convert(folder: Path, state: Any) -> None:
    torch.save(state, folder / "reference.pth")
    convert(read_checkpoint(folder / "reference.pth"), noise_steps=(0, 1, 2))


def _unpickle(folder: Path, content: bytes) -> None:
    (folder / "reference.pth").write_bytes(content)
    read_checkpoint(folder / "reference.pth")


def _inflate(folder: Path) -> None:
    with zipfile.ZipFile(folder / "reference.pth", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a/data.pkl", b"\x80\x02]q\x00.")
        with file.open("a/data/0", "w", force_zip64=True) as member:
            for _ in range(64):
                member.write(bytes(2**20))
    read_checkpoint(folder / "reference.pth")


def _empty(folder: Path, name: str, read: Callable[[Path], Any]) -> None:
    (folder / name).touch()
    os.truncate(folder / name, 100 * 2**30)
    read(folder / name)


def _recipe(folder: Path, text: str) -> None:
    (folder / "recipe.yaml").write_text(f"inherit: x4-small\n{text}")
    load_recipe(str(folder / "recipe.yaml"))


def _set(folder: Path, change: str) -> None:
    load_recipe("x4-small", dict([_override(change)]))


UNSAFE = "is not a checkpoint that can be read safely"
CASES: dict[str, tuple[Callable[[Path], None], str]] = {
    **{f"config.json: {name}": (lambda f, x=text: _read_config(f, x), r) for name, (text, r) in CONFIGS.items()},
    **{f"weights: {name}": (lambda f, x=weights: _read_weights(f, x), r) for name, (weights, r) in WEIGHTS.items()},
    **{f"header: {name}": (lambda f, x=header: _read_header(f, x), r) for name, (header, r) in HEADERS.items()},
    **{f"checkpoint: {name}": (lambda f, x=make: _convert(f, x()), r) for name, (make, r) in CHECKPOINTS.items()},
    **{f"pickle: {name}": (lambda f, x=content: _unpickle(f, x), UNSAFE) for name, content in PICKLES.items()},
    "zip file of 64 MiB in 64 KiB": (_inflate, UNSAFE),
    "checkpoint of 100 GiB": (lambda f: _empty(f, "reference.pth", read_checkpoint), UNSAFE),
    "model of 100 GiB": (lambda f: _empty(f, "model.safetensors", load), "may be at most 1600000000"),
    "recipe of 100 GiB": (lambda f: _empty(f, "recipe.yaml", lambda path: load_recipe(str(path))), "longer than 65536"),
    **{f"recipe: {name}": (lambda f, x=text: _recipe(f, x), r) for name, (text, r) in RECIPES.items()},
    **{f"--set: {name}": (lambda f, x=change: _set(f, x), r) for name, (change, r) in SETTINGS.items()},
}


def run_all(folder: Path) -> list[str]:
    """Read every case in a process that may take 1 GiB more than it has; the names of those without a sentence."""
    import resource  # not on Windows

    here = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (here + 2**30,) * 2)
    silent = []
    for number, (name, (read, _)) in enumerate(CASES.items()):
        place = folder / str(number)
        place.mkdir()
        try:
            read(place)
            silent.append(f"{name}: taken")
        except InputError:
            pass
        except BaseException as error:
            silent.append(f"{name}: {type(error).__name__}")
    return silent
