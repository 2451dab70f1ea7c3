"""dataset=shapes_vqa: small drawn scenes and three kinds of questions about them.

A scene has one to four objects, each a shape of one colour in a cell of its own of a 3 x 3 grid. Questions: is there
such an object (exists), how many objects have a colour (colour), how many a shape (shape). A question of kind "exists"
is about an object of the scene half of the time, and else about any.
"""

import io
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (220, 30, 30),
    "green": (30, 160, 50),
    "blue": (40, 70, 220),
    "black": (20, 20, 20),
}
SHAPES = ("circle", "square", "triangle")
NUMBERS = ("zero", "one", "two", "three", "four")
KINDS = ("exists", "colour", "shape")
CELLS, CELL = 3, 16  # cells a side; pixels of a cell's side
SIDE = CELLS * CELL
MOST = 4  # objects of a scene
JITTER = 1  # pixels that an object may be off its cell's middle
HALF = 5  # pixels from an object's middle to its side


@dataclass(frozen=True)
class Thing:
    """One object; `x` and `y` are pixels of its middle."""

    colour: str
    shape: str
    x: int
    y: int


def fingerprint() -> str:
    """What the rows depend on beside the options; cheap."""
    return f"1/pillow {version('pillow')}"


def build(options: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """`options.rows` rows {image (PNG bytes), question, answer, kind}, a scene each, drawn from `options.seed`; no
    question is asked about the same image twice."""
    rng = random.Random(int(options["seed"]))
    rows: dict[tuple[bytes, str], dict[str, Any]] = {}
    while len(rows) < int(options["rows"]):
        row = _row(rng, KINDS[len(rows) % len(KINDS)])
        rows.setdefault((row["image"], row["question"]), row)
    return {"train": list(rows.values())}


def scene(rng: random.Random) -> tuple[Thing, ...]:
    """Objects from left to right and from top to bottom."""
    cells = sorted(rng.sample(range(CELLS**2), rng.randint(1, MOST)))
    return tuple(_thing(rng, cell) for cell in cells)


def draw(things: Sequence[Thing]) -> "Image":
    """SIDE x SIDE pixels, white behind the objects."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE), "white")
    pen = ImageDraw.Draw(image)
    for thing in things:
        left, top, right, bottom = thing.x - HALF, thing.y - HALF, thing.x + HALF, thing.y + HALF
        if thing.shape == "circle":
            pen.ellipse((left, top, right, bottom), fill=COLOURS[thing.colour])
        elif thing.shape == "square":
            pen.rectangle((left, top, right, bottom), fill=COLOURS[thing.colour])
        else:
            pen.polygon(((left, bottom), (right, bottom), (thing.x, top)), fill=COLOURS[thing.colour])
    return image


def png(image: "Image") -> bytes:
    """The image as a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    return buffer.getvalue()


def caption(things: Sequence[Thing]) -> str:
    """`red circle , blue square`, in the order of the scene."""
    return " , ".join(f"{thing.colour} {thing.shape}" for thing in things)


def words() -> Iterator[str]:
    """Every word of questions, answers and captions."""
    yield from ("describe", ":", ",", "?", "answer", "is", "there", "a", "how", "many", "shapes", "are", "yes", "no")
    yield from (*COLOURS, *SHAPES, *NUMBERS)


def _thing(rng: random.Random, cell: int) -> Thing:
    row, column = divmod(cell, CELLS)
    x, y = (at * CELL + CELL // 2 + rng.randint(-JITTER, JITTER) for at in (column, row))
    return Thing(rng.choice(tuple(COLOURS)), rng.choice(SHAPES), x, y)


def _row(rng: random.Random, kind: str) -> dict[str, Any]:
    things = scene(rng)
    colour, shape = rng.choice(tuple(COLOURS)), rng.choice(SHAPES)
    if kind == "exists":
        if rng.random() < 0.5:
            colour, shape = (asked := rng.choice(things)).colour, asked.shape
        question = f"is there a {colour} {shape} ?"
        answer = "yes" if any((thing.colour, thing.shape) == (colour, shape) for thing in things) else "no"
    else:
        question = f"how many {colour if kind == 'colour' else shape} shapes are there ?"
        answer = NUMBERS[
            sum((thing.colour == colour) if kind == "colour" else (thing.shape == shape) for thing in things)
        ]
    return {"image": png(draw(things)), "question": question, "answer": answer, "kind": kind}
