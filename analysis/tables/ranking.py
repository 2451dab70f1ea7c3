"""Tables of a comparison across blocks: mean ranks and wins, and every pair."""

import pandas as pd

from analysis.compare import Comparison, as_json, sign_p
from analysis.metric import number
from analysis.table import Cell, Head, Table


def rank_table(found: Comparison) -> Table:
    """Methods by mean rank, with the number of blocks in which each is best."""
    plain = as_json(found)
    order = sorted(found.methods, key=lambda m: (plain["mean_ranks"][m], m))
    rows = [
        (
            Cell(m),
            Cell(number(plain["mean_ranks"][m], 2), plain["mean_ranks"][m]),
            Cell(str(plain["wins"][m]), plain["wins"][m]),
        )
        for m in order
    ]
    dropped = [f"Left out, because methods are missing: {b} ({', '.join(lost)})." for b, lost in found.dropped.items()]
    notes = (*_omnibus_notes(found), *_clique_notes(found), *dropped, *_imputed_note(found))
    heads = (Head("method"), Head("mean rank", "", "min"), Head("best in", "blocks", "max"))
    data = pd.DataFrame(
        {
            "method": order,
            "mean_rank": [plain["mean_ranks"][m] for m in order],
            "wins": [plain["wins"][m] for m in order],
        }
    )
    return Table("ranks", f"Mean ranks over {found.ranking.n} blocks", heads, tuple(rows), notes, data)


def pair_table(found: Comparison) -> Table:
    """Every pair: Wilcoxon p raw and Holm-adjusted, sign test, blocks won, lost and tied by the first."""
    names = found.methods
    pairs = sorted(found.ranking.pairs, key=lambda p: (p.p, names[p.a], names[p.b]))
    rows = tuple(
        (
            Cell(f"{names[p.a]} – {names[p.b]}"),
            p_cell(p.p),
            p_cell(p.holm),
            p_cell(sign_p(p.wins, p.losses)),
            Cell(f"{p.wins} / {p.losses} / {p.ties}", p.wins - p.losses),
        )
        for p in pairs
    )
    heads = (
        Head("pair"),
        Head("Wilcoxon p"),
        Head("with Holm"),
        Head("sign test p"),
        Head("won / lost / tied", "blocks"),
    )
    family = f"Two-sided Wilcoxon signed-rank tests over {found.ranking.n} blocks; Holm over all {len(pairs)} pairs."
    return Table(
        "pairs", "Every pair of methods", heads, rows, (family, *found.notes), pd.DataFrame(as_json(found)["pairwise"])
    )


def p_cell(p: float) -> Cell:
    """A p value: three decimals, or `<.001`; the dash means that no test was possible."""
    if p != p:
        return Cell("–", mark="absent")
    return Cell("<.001" if p < 0.001 else f"{p:.3f}".removeprefix("0") if p < 1 else "1", float(p))


def _omnibus_notes(found: Comparison) -> tuple[str, ...]:
    chi, f = found.ranking.friedman, found.ranking.iman_davenport
    if chi.p != chi.p:
        return ("Friedman's test needs three methods that differ somewhere, and two blocks.",)
    statistic = "F unbounded" if f.statistic != f.statistic else f"F = {f.statistic:.2f}"
    return (
        f"Friedman χ² = {chi.statistic:.2f} on {chi.df[0]:g} df, p {_equals(chi.p)}; Iman–Davenport "
        f"{statistic} on {f.df[0]:g} and "
        f"{f.df[1]:g} df, p {_equals(f.p)}.",
    )


def _equals(p: float) -> str:
    return "< .001" if p < 0.001 else f"= {p:.3f}"


def _clique_notes(found: Comparison) -> tuple[str, ...]:
    groups = ["{" + ", ".join(found.methods[i] for i in group) + "}" for group in found.ranking.cliques]
    return (f"Not told apart by the pairwise tests: {'; '.join(groups)}.",) if groups else ()


def _imputed_note(found: Comparison) -> tuple[str, ...]:
    if not found.worst_imputed:
        return ()
    ranks = ", ".join(f"{m} {r:.2f}" for m, r in sorted(found.worst_imputed.items(), key=lambda item: item[1]))
    return (f"With every hole counted as the worst of its block instead, the mean ranks are: {ranks}.",)
