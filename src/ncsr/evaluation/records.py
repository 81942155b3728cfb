"""The records of an evaluation, written after every photograph, so that a run that was stopped can go on.

Each evaluation has a hidden folder named by a hash of its settings. For each photograph it holds a JSON file of
figures, the photograph's section of the page and, for figures of the paper, their pictures; for each process, the state
of the measures of the set as a whole. This last file also lists the photographs that it includes and is written last,
so it alone decides which photographs are done. Its size does not grow with the set.
"""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save
from torch import Tensor

from ncsr.errors import InputError
from ncsr.evaluation.measuring import SetMeasures, State
from ncsr.evaluation.protocol import Settings
from ncsr.evaluation.results import Record
from ncsr.runtime.files import atomic_path, hidden_name, make_folder
from ncsr.runtime.parsing import parse_json
from ncsr.runtime.torchrun import Processes

_SHARED = "_photographed"  # ends names of states of the photographs: equal in all rows, stored with the first


class Records:
    """The records of one evaluation, of which this process writes a part.

    Args:
        output: the folder of results.
        settings: only records of the same settings count.
        files: fingerprints of all photographs' files, by name. A process's records count only if all their photographs
            are among these.
        processes: the processes that share the photographs.

    Attributes:
        measures: the measures of the set that this process has gathered, by row.
        done: names of the photographs that are already measured, by any process.
    """

    def __init__(self, output: Path, settings: Settings, files: dict[str, str], processes: Processes) -> None:
        self.folder = make_folder(output / f".ncsr-{settings.key}")
        self._rows, self._calibration = [row.name for row in settings.rows], settings.calibration
        self._own = self.folder / f"set-{processes.rank}-of-{processes.world}.safetensors"
        self._seen: dict[str, str] = {}
        self.measures = {row: SetMeasures(self._calibration) for row in self._rows}
        self.done: set[str] = set()
        for path in sorted(self.folder.glob("set-*.safetensors")):
            seen, states = _read(path, self._rows)
            if not seen.items() <= files.items():
                path.unlink(missing_ok=True)
                continue
            self.done |= seen.keys()
            if path == self._own:
                self._seen = seen
                self._merge(states)

    def add(
        self,
        name: str,
        fingerprint: str,
        record: Record,
        section: str,
        panels: dict[str, Tensor],
        samples: dict[str, Tensor],
        hr: Tensor,
    ) -> None:
        """Write the records of a photograph, and add its samples to `measures`.

        Args:
            name: of the photograph.
            fingerprint: of its files.
            record: its figures.
            section: its section of the page, HTML.
            panels: its pictures for a figure of the paper.
            samples: (n, 3, H, W) by row.
            hr: (3, H, W).

        Raises:
            InputError: it cannot be written, as on a full disk; what was measured before stays.
        """
        contents = {
            ".json": (json.dumps(record) + "\n").encode(),
            ".html": section.encode(errors="backslashreplace"),
        }
        if panels:
            contents[".panels"] = save(panels)
        gathered = deepcopy(self.measures)  # so that they are unchanged if anything fails
        for row, images in samples.items():
            gathered[row].add(images, hr)
        tensors = {
            f"{i} {key}": value
            for i, row in enumerate(self._rows)
            for key, value in gathered[row].state().items()
            if i == 0 or not key.endswith(_SHARED)
        }
        try:
            for suffix, content in contents.items():
                with atomic_path(self._file(name, suffix)) as path:
                    path.write_bytes(content)
            seen = self._seen | {name: fingerprint}
            with atomic_path(self._own) as path:
                path.write_bytes(save(tensors, metadata={"seen": json.dumps(seen)}))
        except OSError as error:
            raise InputError(
                f"cannot write to {self.folder}: {error.strerror}; make room there, then start again: it goes on"
            ) from None
        self._seen, self.measures = seen, gathered

    def merged(self) -> dict[str, SetMeasures]:
        """The measures of the set from all processes, by row; call it when all are done."""
        self.measures = {row: SetMeasures(self._calibration) for row in self._rows}
        for path in sorted(self.folder.glob("set-*.safetensors")):
            self._merge(_read(path, self._rows)[1])
        return self.measures

    def read(self, name: str) -> Record:
        """The record of a photograph that is done.

        Raises:
            InputError: its file is damaged.
        """
        path = self._file(name, ".json")
        try:
            record: Record = parse_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}): delete {path.parent} to begin anew") from None
        return record

    def section(self, name: str) -> str:
        """The part of the page on a photograph that is done."""
        return self._file(name, ".html").read_text(encoding="utf-8")

    def panels(self, name: str) -> dict[str, Tensor]:
        """The pictures that a figure of the paper shows of a photograph that is done."""
        path = self._file(name, ".panels")
        return load(path.read_bytes()) if path.is_file() else {}

    def _file(self, name: str, suffix: str) -> Path:
        return self.folder / hidden_name(f"{name}{suffix}").removeprefix(".")  # the folder is hidden already

    def _merge(self, states: dict[str, State]) -> None:
        for row, state in states.items():
            self.measures[row].merge(state)


def _read(path: Path, rows: list[str]) -> tuple[dict[str, str], dict[str, State]]:
    """The photographs in the file of a process (fingerprints by name), and the states of its measures, by row."""
    try:
        with safe_open(path, framework="pt") as file:
            seen: dict[str, str] = parse_json((file.metadata() or {})["seen"])
            states: dict[str, State] = {row: {} for row in rows}
            for key in file.keys():  # noqa: SIM118 (not a mapping)
                row, _, name = key.partition(" ")
                for each in rows if name.endswith(_SHARED) else [rows[int(row)]]:
                    states[each][name] = file.get_tensor(key)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise InputError(f"{path} is damaged ({error}): delete {path.parent} to begin anew") from None
    return seen, states
