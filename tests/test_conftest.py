"""What every room's tests share."""

from hypothesis import settings


def test_property_tests_meet_the_same_examples_each_time_and_explore_draws_anew():
    assert settings.get_profile("fixed").derandomize
    assert not settings.get_profile("explore").derandomize
