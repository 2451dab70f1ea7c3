"""Tables of a comparison across blocks: mean ranks and wins, and every pair."""

import pandas as pd

from analysis.compare import Comparison, as_json, sign_p
from analysis.metric import number
from analysis.stats.permutation import clusters_needed
from analysis.stats.ranks import against
from analysis.table import Cell, Head, Table


def rank_table(comparison: Comparison, control: str | None = None) -> Table:
    """Methods by mean rank, with the number of blocks in which each is best. `control`: comparisons to it alone are a
    smaller family than all pairs, and stand in a note.
    """
    plain = as_json(comparison)
    order = sorted(comparison.methods, key=lambda m: (plain["mean_ranks"][m], m))
    rows = [
        (
            Cell(m),
            Cell(number(plain["mean_ranks"][m], 2), plain["mean_ranks"][m]),
            Cell(str(plain["wins"][m]), plain["wins"][m]),
        )
        for m in order
    ]
    dropped = [
        f"Left out, because methods are missing: {b} ({', '.join(lost)})." for b, lost in comparison.dropped.items()
    ]
    sentences = (*_omnibus_notes(comparison), *_clique_notes(comparison), *_control_note(comparison, control))
    notes = (*sentences, *dropped, *_imputed_note(comparison))
    heads = (Head("method"), Head("mean rank", "", "min"), Head("best in", "blocks", "max"))
    data = pd.DataFrame(
        {
            "method": order,
            "mean_rank": [plain["mean_ranks"][m] for m in order],
            "wins": [plain["wins"][m] for m in order],
        }
    )
    return Table("ranks", f"Mean ranks over {comparison.ranking.n} blocks", heads, tuple(rows), notes, data)


def pair_table(comparison: Comparison) -> Table:
    """Every pair: Wilcoxon p raw and Holm-adjusted, sign test, blocks won, lost and tied by the first."""
    names, rank = comparison.methods, comparison.ranking
    pairs = sorted(rank.pairs, key=lambda p: (p.p, names[p.a], names[p.b]))
    rows = tuple(
        (
            Cell(f"{names[p.a]} – {names[p.b]}"),
            p_cell(p.p),
            p_cell(p.clustered),
            p_cell(p.holm),
            p_cell(sign_p(p.wins, p.losses)),
            Cell(f"{p.wins} / {p.losses} / {p.ties}", p.wins - p.losses),
        )
        for p in pairs
    )
    heads = (
        Head("pair"),
        Head("Wilcoxon p", f"{rank.n} blocks"),
        Head("sign-flip p", f"{rank.clusters} {rank.over}"),
        Head(f"Holm over {len(pairs)}"),
        Head("sign test p"),
        Head("won / lost / tied", "blocks"),
    )
    family = (
        f"Exact two-sided signed-rank tests. Wilcoxon's takes the {rank.n} blocks as independent; the other flips the "
        f"signs of all blocks of one of the {rank.clusters} {rank.over} together, and Holm over all {len(pairs)} pairs "
        "is of it."
    )
    return Table(
        "pairs",
        "Every pair of methods",
        heads,
        rows,
        (family, *comparison.notes),
        pd.DataFrame(as_json(comparison)["pairwise"]),
    )


def p_cell(p: float) -> Cell:
    """A p value: three decimals, or `<.001`; the dash means that no test was possible."""
    if p != p:
        return Cell("–", mark="absent")
    return Cell("<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1", float(p))


def _omnibus_notes(comparison: Comparison) -> tuple[str, ...]:
    rank = comparison.ranking
    chi, f = rank.friedman, rank.iman_davenport
    if chi.p != chi.p:
        return ("Friedman's test needs three methods that differ somewhere, and two blocks.",)
    statistic = "F unbounded" if f.statistic != f.statistic else f"F = {f.statistic:.2f}"
    return (
        f"Friedman χ² = {chi.statistic:.2f}, Iman–Davenport {statistic}; p {_equals(rank.p)} by relabelling methods "
        f"within each of the {rank.clusters} {rank.over}. It speaks of {rank.over} like these{_held(rank.over)}.",
    )


def _held(over: str) -> str:
    """What a test over `over` holds fixed."""
    return {"models": ", on these datasets", "datasets": ", for this model"}.get(over, ", each taken as independent")


def _equals(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}"


def _clique_notes(comparison: Comparison) -> tuple[str, ...]:
    rank = comparison.ranking
    if not rank.testable:
        return (_too_few(f"any of the {len(rank.pairs)} pairs", rank.clusters, rank.over, rank.needed),)
    groups = ["{" + ", ".join(comparison.methods[i] for i in group) + "}" for group in rank.cliques]
    return (f"Not told apart by the pairwise tests: {'; '.join(groups)}.",) if groups else ()


def _control_note(comparison: Comparison, control: str | None) -> tuple[str, ...]:
    if control not in comparison.methods:
        return ()
    rank, tested = comparison.ranking, against(comparison.ranking, comparison.methods.index(control))
    needed = clusters_needed(len(tested))
    if rank.clusters < needed:
        return (_too_few(f"any method from {control} alone", rank.clusters, rank.over, needed),)
    different = [comparison.methods[i] for i, p in tested.items() if p < 0.05]
    return (f"Different from {control} (Holm over {len(tested)} comparisons): {', '.join(different) or 'none'}.",)


def _too_few(what: str, clusters: int, over: str, needed: int) -> str:
    return f"{clusters} {over} are too few to tell {what} apart, however large the differences: {needed} are needed."


def _imputed_note(comparison: Comparison) -> tuple[str, ...]:
    if not comparison.worst_imputed:
        return ()
    ranks = ", ".join(f"{m} {r:.2f}" for m, r in sorted(comparison.worst_imputed.items(), key=lambda item: item[1]))
    return (f"With every hole counted as the worst of its block instead, the mean ranks are: {ranks}.",)
