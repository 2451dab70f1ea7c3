"""Large libraries are imported with the garbage collector off, once a process."""

import gc

import pytest

from harness.models.first_import import first_import


def test_garbage_is_not_collected_meanwhile_and_what_was_made_is_not_looked_through_later():
    before = gc.get_freeze_count()
    with first_import("a_module_that_is_not_loaded"):
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled() and gc.get_freeze_count() >= before + len(made)


def test_it_is_collected_again_after_an_import_that_failed():
    with pytest.raises(ModuleNotFoundError), first_import("a_module_that_is_not_loaded"):
        import a_module_that_is_not_loaded  # type: ignore[import-not-found] # noqa: F401
    assert gc.isenabled()


def test_what_is_there_in_a_process_that_has_the_library_may_be_garbage_and_is_left_alone():
    before = gc.get_freeze_count()
    with first_import("pytest"):
        assert gc.isenabled()
    assert gc.get_freeze_count() == before


def test_a_collector_that_somebody_switched_off_stays_off():
    gc.disable()
    try:
        with first_import("a_module_that_is_not_loaded"):
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
