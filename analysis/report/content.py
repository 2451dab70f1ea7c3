"""What stands in the report, in reading order."""

from collections.abc import Iterator
from dataclasses import dataclass

from analysis.audit import audit, audit_table
from analysis.chosen import compared
from analysis.figures.bars import ledger_bars, time_bars
from analysis.figures.curvature import curvature_points
from analysis.figures.curves import learning_curves
from analysis.figures.forest import forest
from analysis.figures.generalization import gap_intervals, score_against_retention
from analysis.figures.heat import heat_map
from analysis.figures.intruders import intruder_curves
from analysis.figures.kept import kept_against_lost
from analysis.figures.landscapes import landscape_contours, landscape_curves, landscape_paths, landscape_surfaces
from analysis.figures.learned_ranks import rank_map, side_bars
from analysis.figures.rank_served import rank_served
from analysis.figures.ranks import rank_diagram
from analysis.figures.size import size_curves
from analysis.figures.style import Picture
from analysis.figures.subspaces import subspace_maps
from analysis.figures.tradeoff import score_against
from analysis.figures.tuning import tuning_curves
from analysis.frame import Frame
from analysis.table import Table
from analysis.tables.competitive import competitive_table
from analysis.tables.coverage import coverage, failures
from analysis.tables.curvature import curvature_table
from analysis.tables.examples import examples_table
from analysis.tables.forgetting import forgetting_table, retention_front
from analysis.tables.fronts import fronts_table
from analysis.tables.generalization import gap_table
from analysis.tables.geometry import geometry_table
from analysis.tables.lr_curvature import lr_table
from analysis.tables.method_check import check_tables
from analysis.tables.pooled import comparison, pooled_table
from analysis.tables.predictors import predictor_table
from analysis.tables.published import beside_published
from analysis.tables.rank_rules import rules_table
from analysis.tables.ranking import pair_table, rank_table
from analysis.tables.ranks import side_table, strategy_table
from analysis.tables.relative import relative_memory, relative_time
from analysis.tables.served import served_table
from analysis.tables.squeeze import gains_table, procedure_table
from analysis.tables.squeeze_published import TABLES, squeeze_table
from analysis.tables.study import table2, table3
from analysis.tables.subspaces import subspace_table
from analysis.tables.tradeoff import tradeoffs
from analysis.tables.tuning import tuning_table

ANSWER = "answer"  # the first section, which the page sets apart


@dataclass(frozen=True)
class Section:
    """A heading, what to read out of it, its tables and pictures."""

    key: str
    title: str
    lead: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()


def sections(frame: Frame) -> Iterator[Section]:
    """All sections that this frame has something for, each made when it is asked for."""
    chosen = compared(frame)
    for make, *given in (
        (_answer, chosen),
        (_check, frame),
        (_tuning, frame),
        (_tradeoff, chosen),
        (_fronts, chosen),
        (_control, chosen),
        (_blocks, chosen),
        (_costs, chosen),
        (_ranks, chosen, frame),
        (_curves, frame),
        (_study, chosen),
        (_squeeze, frame),
        (_generalization, chosen),
        (_landscape, chosen),
        (_subspaces, chosen),
        (_trust, frame),
    ):
        section = make(*given)
        if section.tables or section.pictures:
            yield section


def _answer(frame: Frame) -> Section:
    """The picture of the first screen; grid and verdict stand beside it."""
    lead = "Up is better, left is cheaper. Bars: lowest to highest seed. Dashed: the front of the means."
    return Section(ANSWER, "The answer", lead, (), (score_against(frame, "train_s"),))


def _check(frame: Frame) -> Section:
    lead = "What was tried of the method before any run: what every method must keep, and what a step costs."
    return Section("method", "Contract and step", lead, check_tables(frame))


def _tradeoff(frame: Frame) -> Section:
    lead = "What each method scored over its seeds, and what it cost."
    return Section("tradeoff", "Score and cost", lead, tradeoffs(frame))


def _fronts(frame: Frame) -> Section:
    lead = (
        "The same scores against memory and size. Up is better, left is cheaper; the dashed line joins the front of "
        "the means."
    )
    pictures = tuple(score_against(frame, cost) for cost in ("step_bytes", "trainable_params"))
    return Section("fronts", "Pareto fronts", lead, _some(fronts_table(frame)), pictures)


def _control(frame: Frame) -> Section:
    lead = (
        f"Paired differences to {frame.control} over common seeds: right of zero is better. Filled "
        "markers: p < .05 after Holm."
    )
    tables = _some(competitive_table(frame)) + _some(examples_table(frame))
    return Section("control", f"Against {frame.control}", lead, tables, _some(forest(frame)))


def _tuning(frame: Frame) -> Section:
    lead = "The best validation score to be expected of a number of settings tried, against what trying them costs."
    tables = _some(tuning_table(frame)) + _some(lr_table(frame))
    return Section("tuning", "Tuning", lead, tables, _some(tuning_curves(frame)))


def _blocks(frame: Frame) -> Section:
    compared = comparison(frame)
    lead = "Methods over all blocks. A block in which some method is incomplete does not enter ranks, and is named."
    if compared is None and len(frame.blocks) > 1:
        lead = "No ranks: fewer than two blocks have every run of every method (the heat map shows the holes)."
    tables = _some(pooled_table(frame)) + (
        (rank_table(compared, frame.control), pair_table(compared)) if compared else ()
    )
    pictures = (heat_map(frame), *([rank_diagram(compared)] if compared else [])) if len(frame.blocks) > 1 else ()
    return Section("blocks", "Over all blocks", lead, tables, pictures)


def _costs(frame: Frame) -> Section:
    lead = (
        "Where the time goes, and what the memory holds. The ledger counts tensors exactly, so it "
        "compares methods without noise."
    )
    tables = _some(relative_time(frame)) + _some(relative_memory(frame))
    return Section("costs", "Time and memory", lead, tables, (ledger_bars(frame), time_bars(frame)))


def _ranks(frame: Frame, tried: Frame) -> Section:
    """tried: with all rates that were tried, which some rules of thumb are about."""
    lead = "What each strategy scored at what price, and where learned rank went: layer by module, mean over seeds."
    tables = _some(strategy_table(frame)) + _some(side_table(frame)) + _some(served_table(frame))
    rules = rules_table(tried)
    if rules is not None and rules.data["low"].notna().any():  # an interval, whether it decides or not
        tables += (rules,)
    pictures = _some(rank_map(frame)) + _some(side_bars(frame)) + _some(rank_served(frame))
    return Section("ranks", "Rank: how much, and where", lead, tables, pictures)


def _curves(frame: Frame) -> Section:
    lead = "Validation score during training: mean over seeds, the band from the lowest to the highest seed."
    return Section("curves", "Learning curves", lead, (), (learning_curves(frame),) if len(frame.curves) else ())


def _study(frame: Frame) -> Section:
    published = (*_some(beside_published(frame, "table2")), *_some(beside_published(frame, "table3")))
    if frame.rows["gap_abs"].notna().any():
        lead = "Score and generalization error in the form of the study's Tables 2 and 3."
        return Section("study", "The study's tables", lead, (table2(frame), table3(frame), *published))
    lead = (
        "Score in the form of the study's Table 2. Its Table 3, the generalization error, needs the training loss: "
        "recipe.train_loss=true."
    )
    return Section("study", "The study's tables", lead, (table2(frame), *published))


def _squeeze(frame: Frame) -> Section:
    """Empty where no run is squeezed. A printed table is there where a run of ours is its counterpart."""
    lead = "Adapters learned at a high rank and compressed to a lower one, beside those that were trained at that rank."
    procedures = procedure_table(frame)
    if procedures is None:
        return Section("squeeze", "LoRA-Squeeze", lead)
    printed = (squeeze_table(frame, which) for which in TABLES)
    tables = (procedures, *_some(gains_table(frame)), *(t for t in printed if t.data["ours"].notna().any()))
    pictures = _some(size_curves(frame)) + _some(kept_against_lost(frame))
    return Section("squeeze", "LoRA-Squeeze", lead, tables, pictures)


def _generalization(frame: Frame) -> Section:
    lead = (
        "Measured from the saved weights (peftlab diagnose). A model that has learned what also holds for new data has "
        "about the same loss on both: a small G(W). A bound promises that G(W) stays below a number. At these sizes "
        "the numbers are far above any loss there is, so only their order is of use: does the method with the smaller "
        "bound have the smaller G(W)? τ says so. A run may also forget what its model knew before: the tables of "
        "forgetting ask it again, and the front says which methods score without that price. An "
        "intruder is a leading direction of a tuned weight whose largest cosine with a pretrained one is below ε."
    )
    tables = _some(gap_table(frame)) + _some(predictor_table(frame))
    tables += _some(forgetting_table(frame)) + _some(retention_front(frame))
    tables += _some(geometry_table(frame))
    pictures = _some(gap_intervals(frame)) + _some(score_against_retention(frame)) + _some(intruder_curves(frame))
    return Section("generalization", "Why it generalises", lead, tables, pictures)


def _landscape(frame: Frame) -> Section:
    lead = (
        "How fast the training loss rises when the adapted weights are moved from where a run ended, at random and "
        "back along its own path. A flat valley is often taken to mean that a model generalises; the table of "
        "predictors above says whether it does here. Contours, surfaces and paths are of the first block; "
        "analysis.landscape_contours(frame, block) draws another."
    )
    pictures = (curvature_points, landscape_curves, landscape_contours, landscape_surfaces, landscape_paths)
    drawn = tuple(picture for draw in pictures for picture in _some(draw(frame)))
    return Section("landscape", "The loss around the weights", lead, _some(curvature_table(frame)), drawn)


def _subspaces(frame: Frame) -> Section:
    lead = (
        "Do two runs change the same directions? φ(i, j) is the share of the smaller of two subspaces, the first i "
        "directions of one update and the first j of another, that lies in the other: 1, it holds it; at chance, they "
        "know nothing of each other. A small rank that is all inside a large one was enough."
    )
    return Section("subspaces", "Shared directions", lead, _some(subspace_table(frame)), _some(subspace_maps(frame)))


def _trust(frame: Frame) -> Section:
    lead = "What was planned, what became of it, and what looks suspicious."
    return Section(
        "trust",
        "Coverage, failures, audit",
        lead,
        (coverage(frame), *_some(failures(frame)), audit_table(frame, audit(frame, fresh=False))),
    )


def _some(part: Table | Picture | None) -> tuple:
    return () if part is None else (part,)
