"""What each method can do, tried on tiny models: `python -m harness.planning.capabilities` prints docs/capabilities.md.

Every card of conf/method and every type of the `peft` library, by every column. A cell is what happened: it works, it
is refused with a sentence, it does by design what others do not, or any other error came. Nothing is written by hand.
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace

import torch

from harness.config.groups import choices
from harness.models.quiet import quiet
from harness.planning.capability_trials import COLUMNS, Noted
from harness.planning.tiny_trial import part
from methods.errors import MethodError
from methods.library_types import PROMPTS, REFUSED, SHORT, TYPES
from methods.spec import MethodSpec

_PROCESSES = 2
WORDS = {"refused": "–", "noted": "noted", "broken": "**broken**"}
_SMALL: Mapping[str, str] = {  # options of types whose defaults are wider than a tiny model, or that have none
    "C3A": "block_size=16", "FOURIERFT": "n_frequency=50", "MISS": "r=4", "PSOFT": "r=8", "ROAD": "group_size=16",
    "SHIRA": "r=4", "VBLORA": "vector_length=16 num_vectors=20", "WAVEFT": "n_frequency=50",
    **dict.fromkeys(PROMPTS, "num_virtual_tokens=4"),
}  # fmt: skip


@dataclass(frozen=True)
class Tried:
    """state: works, refused, noted or broken; why: its sentence."""

    state: str
    why: str = ""


def rows() -> tuple[str, ...]:
    """Cards by their names, types of the library as peft.type=X."""
    return (*sorted(choices("method")), *(f"peft.type={kind}" for kind in sorted({*TYPES, *SHORT, *PROMPTS, *REFUSED})))


def spec_of(row: str) -> MethodSpec:
    """The method of a row, small enough for a tiny model."""
    kind = row.removeprefix("peft.type=")
    words = [f"method={row}"]
    if kind != row:
        given = [f"peft.{option}" for option in _SMALL.get(kind, "").split()]
        words = ["method=peft", f"peft.type={kind}", *given]
    spec = part("method", words)
    return replace(spec, update=replace(spec.update, rank=4)) if getattr(spec.update, "rank", 0) > 4 else spec  # type: ignore[call-arg]


def probe(row: str, column: str) -> Tried:
    """Try one cell anew."""
    return tried(lambda: COLUMNS[column](spec_of(row)))


def tried(attempt: Callable[[], object]) -> Tried:
    """What came of it."""
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            attempt()
    except MethodError as error:
        return Tried("refused", str(error))
    except Noted as fact:
        return Tried("noted", str(fact))
    except Exception as error:  # broad: whatever is no refusal is the finding
        return Tried("broken", f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}")
    return Tried("works")


def _cells(row: str) -> list[Tried]:
    torch.set_num_threads(1)
    return [probe(row, column) for column in COLUMNS]


def table() -> Iterator[str]:
    """docs/capabilities.md, line by line."""
    yield from _HEAD
    yield f"| method | {' | '.join(COLUMNS)} |"
    yield "| --- |" + " --- |" * len(COLUMNS)
    notes: dict[str, int] = {}
    with ProcessPoolExecutor(_PROCESSES) as pool:
        probed = dict(zip(rows(), pool.map(_cells, rows()), strict=True))
    for row, cells in probed.items():
        yield f"| `{row}` | {' | '.join(_shown(cell, notes, row) for cell in cells)} |"
    yield ""
    yield from (f"{number}. {sentence}" for sentence, number in notes.items())


def _shown(cell: Tried, notes: dict[str, int], row: str) -> str:
    if cell.state == "works":
        return "✓"
    why = cell.why.removeprefix(f"{row}: ").removeprefix(f"peft_{row.removeprefix('peft.type=').lower()}: ")
    number = notes.setdefault(f"{cell.state}: {why}", len(notes) + 1)
    return f"{WORDS[cell.state]} {number}"


_HEAD = (
    "# What each method can do",
    "",
    "Made by `make capabilities`, which tries every cell on a tiny random model; none is written by hand. ✓: it works.",
    "– n: it is refused, with sentence n below the table. noted n: it works, and sentence n says what is its own.",
    "",
    "- start unchanged: before any step the output is the pretrained model's, but for rounding (1e-5);",
    "- text (BERT), image (ViT), causal LM (Llama), Conv1D (GPT-2): three training steps move the output;",
    "- quantised: the same beside NF4 weights; bf16: beside bfloat16 weights, under autocast;",
    "- checkpointing: `recipe.gradient_checkpointing` gives the same gradients;",
    "- sharded: two processes (`parallel=fsdp`) give the outputs of one;",
    "- merge, export: plain modules, or the peft library, give the same outputs; resume: bit for bit;",
    "- plugin: `methods.library` has it for scripts of your own.",
    "",
)


if __name__ == "__main__":
    for line in table():
        print(line)
