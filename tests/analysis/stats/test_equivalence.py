"""Non-inferiority against statsmodels, and its error rate when a method is exactly the margin worse."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from analysis.stats.equivalence import competitive, one_sided, tost


def test_tost_is_statsmodels_tost() -> None:
    d = np.random.default_rng(0).normal(0.1, 0.4, 8)
    assert tost(d, 1.0) == pytest.approx(DescrStatsW(d).ttost_mean(-1.0, 1.0)[0])


def test_the_three_answers() -> None:
    near, far, unclear = [-0.1, 0.0, 0.1, 0.05, -0.05], [-3.0, -3.1, -2.9, -3.0, -3.2], [-3.0, 2.0, -1.0, 4.0, -4.0]
    found = competitive([near, far, unclear], margin=1.0)
    assert [f.verdict for f in found] == ["yes", "no", "not enough runs"]


def test_two_seeds_are_not_enough_runs() -> None:
    assert competitive([[0.0, 0.0]], margin=1.0)[0].verdict == "not enough runs"


def test_equal_differences_are_no_proof() -> None:
    """Three pairs alike: the sign-flip p of one side is 1/8; with a resolution the SD is half a step."""
    assert one_sided([0.0, 0.0, 0.0], -1.0) == 1 / 8
    assert competitive([[0.0, 0.0, 0.0]], margin=1.0)[0].verdict == "not enough runs"
    assert one_sided([0.0, 0.0, 0.0], -1.0, step=0.2) == pytest.approx(stats.t.sf(np.sqrt(3) / 0.1, 2))


def test_every_p_of_a_family_is_adjusted_by_holm() -> None:
    d = np.random.default_rng(2).normal(0.2, 0.3, (3, 6))
    found = [c.p_equivalent for c in competitive(list(d), margin=1.0)]
    assert found == pytest.approx(list(multipletests([tost(x, 1.0) for x in d], method="holm")[1]))


def test_better_than_the_control_is_competitive() -> None:
    assert competitive([[5.0, 6.0, 5.5, 5.2]], margin=1.0)[0].verdict == "yes"


def test_a_margin_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        competitive([[0.0, 0.0, 0.0]], margin=0.0)


def test_a_method_worse_by_the_margin_is_called_competitive_in_at_most_one_study_of_twenty() -> None:
    d = np.random.default_rng(1).normal(-1.0, 0.7, (2_000, 5))
    said = [competitive([x], margin=1.0)[0].verdict == "yes" for x in d]
    assert np.mean(said) <= 0.055
