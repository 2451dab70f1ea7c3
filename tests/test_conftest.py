"""What every room's tests share."""

from hypothesis import HealthCheck, settings

from harness.config import compose
from harness.config.compose import compose_part
from harness.config.overrides import assign


def test_property_tests_meet_the_same_examples_each_time_and_explore_draws_anew():
    assert settings.get_profile("fixed").derandomize
    assert not settings.get_profile("explore").derandomize


def test_no_property_test_depends_on_how_fast_the_machine_is():
    for name in ("fixed", "explore"):
        profile = settings.get_profile(name)
        assert profile.deadline is None and HealthCheck.too_slow in profile.suppress_health_check


def test_a_config_is_composed_once_and_nobody_alters_it_for_others():
    words = [assign("method", "lora")]
    first, kept = compose_part("method", words), compose_part("method", words)
    first["update"]["rank"] = -1
    assert compose_part("method", words) == kept and kept["update"]["rank"] > 0


def test_a_config_of_ones_own_and_one_that_reads_a_variable_are_composed_each_time(tmp_path, monkeypatch):
    assert compose._compose("method/lora", ())["method"]["name"] == "lora"
    monkeypatch.setenv("PEFTLAB_CONF", str(tmp_path))
    (tmp_path / "method").mkdir()
    for rank in (1, 2):
        (tmp_path / "method" / "lora.yaml").write_text(f"name: lora\nupdate: {{rank: {rank}}}\n")
        assert compose_part("method", [assign("method", "lora")])["update"]["rank"] == rank
    monkeypatch.delenv("PEFTLAB_CONF")
    for value in ("a", "b"):
        monkeypatch.setenv("peftlab_said", value)
        word = assign("dataset.about.label", "${oc.env:peftlab_said}")
        assert compose_part("dataset", [assign("dataset", "digits"), word])["about"]["label"] == value
