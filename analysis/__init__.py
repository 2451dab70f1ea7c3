"""Records to sentences: tables, statistics, pictures, a report.

    frame = analysis.load("beyond_lora")
    analysis.table2(frame)

Imports no torch, no tracker and no network.
"""

from analysis.advise import advise
from analysis.audit import audit, audit_table
from analysis.chosen import chosen_settings
from analysis.compare import compare, compare_csv
from analysis.diagnoses import diagnoses
from analysis.examples import on_examples
from analysis.figures.bars import ledger_bars, time_bars
from analysis.figures.curvature import curvature_points
from analysis.figures.curves import learning_curves
from analysis.figures.forest import forest
from analysis.figures.generalization import gap_intervals, score_against_retention
from analysis.figures.heat import heat_map
from analysis.figures.intruders import intruder_curves
from analysis.figures.kept import kept_against_lost
from analysis.figures.landscapes import (
    landscape_contours,
    landscape_curves,
    landscape_paths,
    landscape_surfaces,
)
from analysis.figures.learned_ranks import rank_map, side_bars
from analysis.figures.rank_served import rank_served
from analysis.figures.ranks import rank_diagram
from analysis.figures.size import size_curves
from analysis.figures.subspaces import subspace_maps
from analysis.figures.tradeoff import score_against
from analysis.figures.tuning import tuning_curves
from analysis.frame import Frame
from analysis.learned_ranks import learned_ranks
from analysis.load import load
from analysis.published import published
from analysis.render import html as _html
from analysis.report.build import write_report
from analysis.table import Table
from analysis.tables.competitive import competitive_table
from analysis.tables.coverage import coverage, failures
from analysis.tables.curvature import curvature_table
from analysis.tables.differences import difference_table
from analysis.tables.examples import examples_table
from analysis.tables.forgetting import forgetting_table, retention, retention_front
from analysis.tables.fronts import fronts_table
from analysis.tables.generalization import gap_table
from analysis.tables.geometry import geometry_table
from analysis.tables.lr_curvature import lr_table
from analysis.tables.pooled import pooled_table
from analysis.tables.predictors import predictor_table
from analysis.tables.published import beside_published
from analysis.tables.rank_rules import rules_table
from analysis.tables.ranking import pair_table, rank_table
from analysis.tables.ranks import side_table, strategy_table
from analysis.tables.relative import relative_memory, relative_time
from analysis.tables.served import served_table
from analysis.tables.squeeze import gains_table, procedure_table
from analysis.tables.squeeze_evidence import squeeze_evidence
from analysis.tables.squeeze_published import squeeze_table
from analysis.tables.study import table2, table3
from analysis.tables.subspaces import subspace_table
from analysis.tables.tradeoff import tradeoff, tradeoffs
from analysis.tables.tuning import tuning_table
from analysis.variance_kept import variance_kept
from analysis.verdict import verdicts

__all__ = [
    "Frame",
    "advise",
    "audit",
    "audit_table",
    "beside_published",
    "chosen_settings",
    "compare",
    "compare_csv",
    "competitive_table",
    "coverage",
    "curvature_points",
    "curvature_table",
    "diagnoses",
    "difference_table",
    "examples_table",
    "failures",
    "forest",
    "forgetting_table",
    "fronts_table",
    "gains_table",
    "gap_intervals",
    "gap_table",
    "geometry_table",
    "heat_map",
    "intruder_curves",
    "kept_against_lost",
    "landscape_contours",
    "landscape_curves",
    "landscape_paths",
    "landscape_surfaces",
    "learned_ranks",
    "learning_curves",
    "ledger_bars",
    "load",
    "lr_table",
    "on_examples",
    "pair_table",
    "pooled_table",
    "predictor_table",
    "procedure_table",
    "published",
    "rank_diagram",
    "rank_map",
    "rank_served",
    "rank_table",
    "relative_memory",
    "relative_time",
    "retention",
    "retention_front",
    "rules_table",
    "score_against",
    "score_against_retention",
    "served_table",
    "side_bars",
    "side_table",
    "size_curves",
    "squeeze_evidence",
    "squeeze_table",
    "strategy_table",
    "subspace_maps",
    "subspace_table",
    "table2",
    "table3",
    "time_bars",
    "tradeoff",
    "tradeoffs",
    "tuning_curves",
    "tuning_table",
    "variance_kept",
    "verdicts",
    "write_report",
]

Table._repr_html_ = _html.in_notebook  # how a notebook shows a table
