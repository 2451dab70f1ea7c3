"""A real dataset of 48 + 16 + 16 rows in files, whose labels can be made wrong split by split."""

import csv
from collections.abc import Collection
from pathlib import Path

NAMES = ("a sour yellow lemon", "a lemon tree", "yellow and sour"), ("a red apple", "an apple pie", "red and sweet")
CARD = """\
name: fruit
source: {kind: folder, path: FOLDER, files: {}}
split: {train: train, validation: validation, test: test, share: 0.1, test_share: 0.2, stratify: [], group: null,
        key: null}
task: {kind: text_classification, text: [text], shorten: longest, label: kind, labels: [lemon, apple], max_length: 16,
       prompt: {before: '', context: '{text}', after: '', cut: right}, aliases: {}}
metric: accuracy
metrics: [accuracy]
direction: max
chance: 0.5
about: {label: Fruit, licence: CC0, source: ours, rows: {train: 48}}
"""


def write_fruit(place: Path, wrong: Collection[str] = ()) -> Path:
    """The files and the card of dataset=fruit; returns what PEFTLAB_CONF must name. wrong: splits of lemons alone."""
    folder = place / "-".join(("fruit", *wrong))
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", 48), ("validation", 16), ("test", 16)):
        with (folder / f"{split}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "kind"])
            for row in range(rows):
                label = row % 2
                name = f"{NAMES[label][row // 2 % 3]} {split} {row}"
                table.writerow([name, "lemon" if split in wrong else ("lemon", "apple")[label]])
    cards = place / "conf" / "dataset"
    cards.mkdir(parents=True, exist_ok=True)
    (cards / "fruit.yaml").write_text(CARD.replace("FOLDER", str(folder)))
    return place / "conf"
