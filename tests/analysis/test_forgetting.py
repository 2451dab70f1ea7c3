"""Tables of forgetting on planted numbers, and the front of score and retention against an enumeration."""

import json
from itertools import product

import numpy as np
import pytest

import analysis
from analysis.render.html import html
from analysis.report.content import sections
from tests.analysis.diagnosed_store import ORDER, retained, write_sides

LABELS = {"full": "Full fine-tuning", "head": "Head only", "lora": "LoRA", "cla": "cLA"}


@pytest.fixture
def frame(written):
    runs = written()
    write_sides(runs)
    return analysis.load("tiny", runs, partial=True, allow_mixed=True)


def test_before_after_and_their_difference_are_the_planted_ones(frame):
    table = analysis.forgetting_table(frame)
    assert table is not None
    data = table.data
    assert len(data) == 8 and set(data["n"]) == {3}
    seeds = sorted(frame.rows["seed"].unique())
    for method, label in LABELS.items():
        row = data[data["method"] == label].iloc[0]
        changes = [100 * (retained(method, seed) - 0.96) for seed in seeds]
        wanted = (np.mean(changes), min(changes), max(changes))
        assert (row["accuracy_change"], row["accuracy_lowest"], row["accuracy_highest"]) == pytest.approx(wanted)
        assert row["loss_after"] - row["loss_before"] == pytest.approx(ORDER[method])


def test_the_front_is_that_of_all_draws_of_seeds(frame):
    """Each of the 27 draws of three seeds; a tie of scores is won in one half and lost in the other."""
    data = analysis.retention(frame)
    block = frame.blocks[0]
    scores = frame.values(block, "shown").round(9)
    kept = np.array([[retained(method, seed) for method in _methods(frame, block)] for seed in scores.index])
    points = np.stack([scores.to_numpy(), kept], axis=-1)
    draws = [points[list(draw)].sum(0).round(9) for draw in product(range(len(points)), repeat=len(points))]
    wanted = np.mean([[0.5 * _free(d, i, True) + 0.5 * _free(d, i, False) for i in range(len(d))] for d in draws], 0)
    here = data[data["block"] == block]
    assert np.asarray(here["inclusion"]) == pytest.approx(wanted, abs=1e-9)
    means = points.mean(0).round(9)
    assert here["on_front"].tolist() == [_free(means, i, False) for i in range(len(means))]
    assert len(set(wanted)) > 1


def test_a_method_without_a_side_record_of_every_seed_is_on_no_front(written):
    runs = written()
    write_sides(runs)
    lost = next(path for path in runs.glob("*/forgetting") if _method_of(path.parent) == "lora")
    next(lost.glob("*.json")).unlink()
    data = analysis.retention(analysis.load("tiny", runs, partial=True, allow_mixed=True))
    without = data[data["inclusion"].isna()]
    assert without["method"].tolist() == ["LoRA"] and without["on_front"].tolist() == [False]


def test_the_report_shows_it_only_where_runs_were_asked(frame, written):
    (section,) = [section for section in sections(frame) if section.key == "generalization"]
    assert {"forgetting", "retention-front"} <= {table.name for table in section.tables}
    assert all(table.title in html(table) for table in section.tables)
    assert [picture.name for picture in section.pictures] == ["gap", "score-retention"]
    plain = analysis.load("tiny", written(), partial=True, allow_mixed=True)
    assert analysis.forgetting_table(plain) is None and analysis.retention_front(plain) is None
    assert analysis.gap_intervals(plain) is None and analysis.score_against_retention(plain) is None


def _methods(frame, block):
    names = {label: method for method, label in LABELS.items()}
    return [names[label] for label in frame.methods_of(block)]


def _method_of(folder):
    return json.loads((folder / "record.json").read_bytes())["spec"]["method"]["name"]


def _free(points, which, ties_won):
    """Whether no point dominates this one; with ties won, a point of the same score does not."""
    mine = points[which]
    for other in np.delete(points, which, axis=0):
        at_least = other[0] > mine[0] or (other[0] == mine[0] and not ties_won)
        if at_least and other[1] >= mine[1] and (other > mine).any():
            return False
    return True
