"""What every room's tests share."""

import pytest
from hypothesis import HealthCheck, settings

from harness.config import compose
from harness.config.compose import compose_part
from harness.config.overrides import assign, expand, parse_words
from tests import composed


def test_property_tests_meet_the_same_examples_each_time_and_explore_draws_anew():
    assert settings.get_profile("fixed").derandomize
    assert not settings.get_profile("explore").derandomize


def test_no_property_test_depends_on_how_fast_the_machine_is():
    for name in ("fixed", "explore"):
        profile = settings.get_profile(name)
        assert profile.deadline is None and HealthCheck.too_slow in profile.suppress_health_check


def test_a_config_is_composed_once_and_nobody_alters_it_for_others(monkeypatch):
    words = [assign("method", "lora")]
    first = compose_part("method", words)
    monkeypatch.setattr(compose, "_by_itself", lambda *given: pytest.fail("composed again"))
    assert compose_part("method", words) == first
    first["update"]["rank"] = -1
    changed = compose_part("method", [*words, assign("method.update.rank", 3)])
    assert changed["update"]["rank"] == 3 and compose_part("method", words)["update"]["rank"] > 3


@pytest.mark.parametrize(
    "typed",
    [
        ["runs=/tmp/x", "cache=/tmp/a b", "report=/r"],
        ["runs=7"],
        ["runs=x", "cache=null"],
        ["cache='/a/${oc.env:HOME}'"],
        ["runs=/a$b", "cache='/it\\'s'"],
        ["++runs=/tmp/x", "method=cla"],
        ["runs=/tmp/x", "runs=/tmp/y"],
    ],
    ids=" ".join,
)
def test_folders_that_are_put_in_afterwards_are_what_hydra_makes_of_them(typed):
    words = [word for override in parse_words(typed) for word in expand(override)]
    assert composed.once("config", words) == composed.in_full("config", words)
    assert composed.once("config", words) == composed.in_full("config", words)


def test_a_config_of_ones_own_that_is_written_anew_is_composed_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    (tmp_path / "method").mkdir()
    for rank in (1, 2):
        (tmp_path / "method" / "lora.yaml").write_text(f"name: lora\nrank: {rank}\n")
        assert compose_part("method", [assign("method", "lora")])["rank"] == rank
