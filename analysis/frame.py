"""The tidy frame every table and picture is made of: one row for each planned run and each skipped cell, whatever
became of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.metric import Shown, shown
from harness.ledger.errors import RecordError, nearest


@dataclass(frozen=True, repr=False)
class Frame:
    """A sweep, loaded.

    rows: one row per planned run; numeric columns as declared in analysis/columns.py (NaN: not measured, the reason is
    in `absent` or `reason`), `status` one of done, failed, damaged, missing, skipped.
    curves: one row per validation point. `methods` and `blocks` are in the order of the plan; `methods` holds labels,
    a block is "model / dataset", and its environment when environments are mixed. `runs` is the folder of the run
    folders, None for a frame from elsewhere.
    """

    name: str
    rows: pd.DataFrame
    curves: pd.DataFrame
    methods: tuple[str, ...]
    blocks: tuple[str, ...]
    about: Mapping[str, Any]
    digest: str
    notes: tuple[str, ...] = ()
    runs: Path | None = None

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.rows["status"].value_counts(sort=False).items())
        return f"<Frame {self.name}: {counts}; {len(self.methods)} methods, {len(self.blocks)} blocks>"

    @property
    def title(self) -> str:
        return str(self.about.get("title") or self.name)

    @cached_property
    def control(self) -> str | None:
        """The label of the control method: the sweep's own, else LoRA where it is in the sweep. None where it was run
        with several settings: no one of them is the control then.
        """
        wanted = str(self.about.get("control") or "lora")
        names = self.rows.drop_duplicates("label")[["method", "method_name", "label"]]
        for key in ("method", "method_name", "label"):
            if (hit := names.loc[names[key] == wanted, "label"]).size:
                return str(hit.iloc[0]) if hit.size == 1 else None
        return None

    @property
    def margin(self) -> float | None:
        """The margin of "competitive with the control", in the unit the score is shown in (1.0: one
        percentage point).
        """
        margin = self.about.get("margin")
        return None if margin is None else float(margin)

    @cached_property
    def _blocks(self) -> dict[str, pd.DataFrame]:
        return _slices(self.rows, ["block"])

    @cached_property
    def _cells(self) -> dict[tuple[str, str], pd.DataFrame]:
        return _slices(self.rows, ["block", "label"])

    @cached_property
    def kept(self) -> dict[str, Any]:
        """What is worth reading only once for a frame (test answers); a frame with other rows has its own."""
        return {}

    @cached_property
    def _values(self) -> dict[tuple[str, str], pd.DataFrame]:
        return {}

    @cached_property
    def _grids(self) -> dict[str, tuple[Any, Any, Any, Any]]:
        return {}

    def block(self, name: str) -> pd.DataFrame:
        """The rows of one block, in the order of methods and seeds; raises RecordError for one that is not there."""
        if name not in self._blocks:
            raise RecordError(f"sweep {self.name} has no block '{name}'.{nearest(name, self.blocks)}")
        return self._blocks[name]

    def cell(self, block: str, method: str) -> pd.DataFrame:
        """The rows of one method in one block; empty where the method was not planned."""
        return self._cells.get((block, method), self.rows.iloc[:0])

    def methods_of(self, block: str) -> tuple[str, ...]:
        """The labels planned (or skipped) in a block, in order."""
        return tuple(m for m in self.methods if (block, m) in self._cells)

    def values(self, block: str, column: str) -> pd.DataFrame:
        """(seeds, methods): that column of the finished runs; NaN where there is no value."""
        if (block, column) not in self._values:
            seeds, row, place, done = self._grid(block)
            table = np.full((len(seeds), len(self.methods_of(block))), np.nan)
            table[row, place] = self.block(block)[column].to_numpy(float)[done]
            names = pd.Index(self.methods_of(block), dtype=object)
            self._values[block, column] = pd.DataFrame(table, index=seeds, columns=names)
        return self._values[block, column]

    def _grid(self, block: str) -> tuple[Any, Any, Any, Any]:
        """Seeds with a finished run, and the place in (seeds, methods) of each finished run; `done` picks
        those rows.
        """
        if block not in self._grids:
            rows = self.block(block)
            done = rows["done"].to_numpy()
            seeds, row = np.unique(rows["seed"].to_numpy()[done], return_inverse=True)
            place = {name: i for i, name in enumerate(self.methods_of(block))}
            self._grids[block] = seeds, row, [place[name] for name in rows["label"].to_numpy()[done]], done
        return self._grids[block]

    def shown(self, block: str) -> Shown:
        """How the block's metric is printed."""
        row = self.block(block).iloc[0]
        units = self.block(block)["score_unit"].dropna()
        return shown(row["metric"], str(units.iloc[0]) if len(units) else "")

    def better(self, block: str) -> str:
        """ "max" or "min": which score is better in a block."""
        return str(self.block(block).iloc[0]["direction"])

    def reordered(self, rows: pd.DataFrame) -> "Frame":
        """The same frame with rows in any order, put back into the one order (by block, method, seed)."""
        return replace(self, rows=ordered(rows, self.blocks, self.methods))


def _slices(rows: pd.DataFrame, keys: list[str]) -> dict[Any, pd.DataFrame]:
    """The rows of each group, as slices: rows are in order, so that a group is one run of them."""
    same = (rows[keys] == rows[keys].shift()).all(axis=1).to_numpy()
    starts = [*(~same).nonzero()[0].tolist(), len(rows)]
    names = rows[keys].itertuples(index=False, name=None) if len(keys) > 1 else iter(rows[keys[0]])
    named = list(names)
    return {named[a]: rows.iloc[a:b] for a, b in pairwise(starts)}


def ordered(rows: pd.DataFrame, blocks: tuple[str, ...], methods: tuple[str, ...]) -> pd.DataFrame:
    """Rows by block, method and seed, in the plan's order of blocks and methods."""
    place = {name: i for i, name in enumerate(blocks)}, {name: i for i, name in enumerate(methods)}
    keys = pd.DataFrame(
        {"b": rows["block"].map(place[0]), "m": rows["label"].map(place[1]), "s": rows["seed"], "i": rows["id"]}
    )
    return rows.loc[keys.sort_values(["b", "m", "s", "i"], kind="stable").index].reset_index(drop=True)
