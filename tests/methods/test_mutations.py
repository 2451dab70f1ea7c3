"""Each promise, broken on purpose: the tests that guard it must fail. README.md lists the same pairs."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from methods.adapters import AdapterMethod
from methods.errors import MethodError
from methods.method import NO_CHANGE
from methods.schedule.chain import ChainSchedule
from methods.spec import LowRank
from methods.update import columns, low_rank
from methods.update.columns import ColumnsUpdate
from methods.update.link import LinkEnd
from methods.update.low_rank import LowRankUpdate

HERE = Path(__file__).parent


def loaded(stem: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"mutated_{stem}", HERE / f"{stem}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def without_the_merge(patch: Any) -> None:
    patch.setattr(LowRankUpdate, "_merge_into", lambda self: LinkEnd(1.0, 0.0, 0))


def without_the_column_write(patch: Any) -> None:
    patch.setattr(ColumnsUpdate, "after_step", lambda self, progress: None)


def with_columns_put_back_at_link_ends(patch: Any) -> None:
    def end(self: ColumnsUpdate) -> LinkEnd:
        self.reset()
        return LinkEnd(1.0, 0.0, 0)

    patch.setattr(ColumnsUpdate, "end", end)


def with_a_frozen_selector(patch: Any) -> None:
    select = columns.select
    patch.setattr(columns, "select", lambda spec, width, path, link, draw: select(spec, width, path, 0, draw))


def with_one_selector_for_all_seeds(patch: Any) -> None:
    import torch

    select = columns.select
    constant = lambda *use: torch.Generator().manual_seed(0)  # noqa: E731
    patch.setattr(columns, "select", lambda spec, width, path, link, draw: select(spec, width, path, link, constant))


def with_the_same_factor_at_every_link(patch: Any) -> None:
    begin = LowRankUpdate.begin
    patch.setattr(LowRankUpdate, "begin", lambda self, draw, link: begin(self, draw, 0))


def without_the_scale(patch: Any) -> None:
    start = LowRankUpdate.__init__

    def unscaled(self: LowRankUpdate, spec: Any, site: Any) -> None:
        start(self, spec, site)
        self.scale = 1.0

    patch.setattr(LowRankUpdate, "__init__", unscaled)


def with_the_ratio_swapped(patch: Any) -> None:
    groups = AdapterMethod.groups

    def swapped(self: AdapterMethod, *rates: float) -> list[dict[str, Any]]:
        found = groups(self, *rates)
        lrs = {group["name"]: group["lr"] for group in found}
        other = {"adapter": "adapter_b", "adapter_b": "adapter"}
        return [group | {"lr": lrs.get(other.get(group["name"], ""), group["lr"])} for group in found]

    patch.setattr(AdapterMethod, "groups", swapped)


def with_both_factors_trained(patch: Any) -> None:
    """RAC as CoLA, the study's trap 3."""
    start = LowRankUpdate.__init__

    def both(self: LowRankUpdate, spec: Any, site: Any) -> None:
        start(self, replace(spec, train_a=True, train_b=True) if isinstance(spec, LowRank) else spec, site)

    patch.setattr(LowRankUpdate, "__init__", both)


def with_stale_moments(patch: Any) -> None:
    after_step = AdapterMethod.after_step
    patch.setattr(AdapterMethod, "after_step", lambda self, progress: replace(after_step(self, progress), forget=()))


def without_any_chain_step(patch: Any) -> None:
    """The study's trap 1."""
    patch.setattr(ChainSchedule, "_next_link", lambda self, step: NO_CHANGE)


def without_the_zero_start(patch: Any) -> None:
    factor = low_rank.factor
    patch.setattr(low_rank, "factor", lambda init, shape, g: factor("normal" if init == "zero" else init, shape, g))


EARLY, LATE, PROMISES, ORACLES = "test_identities", "test_identities_12_to_22", "test_contract", "test_oracles"
BROKEN = [
    (without_the_merge, EARLY, "test_i02_every_chain_step_preserves_the_function", {"name": "cola"}),
    (
        without_the_merge,
        PROMISES,
        "test_merge_leaves_the_function_and_only_plain_modules",
        {"family": "gpt2", "name": "lora"},
    ),
    (without_the_column_write, EARLY, "test_i03_cla_is_asym_with_a_selector_for_a", {}),
    (with_columns_put_back_at_link_ends, EARLY, "test_i02_every_chain_step_preserves_the_function", {"name": "c3la"}),
    (
        with_columns_put_back_at_link_ends,
        EARLY,
        "test_i08_the_update_touches_exactly_the_visited_windows",
        {"name": "c3la", "links": 3, "rank": 4},
    ),
    (
        with_a_frozen_selector,
        EARLY,
        "test_i08_the_update_touches_exactly_the_visited_windows",
        {"name": "c3la", "links": 3, "rank": 4},
    ),
    (with_a_frozen_selector, EARLY, "test_i09_windows_do_not_repeat_until_all_are_used", {"rank": 4}),
    (
        with_one_selector_for_all_seeds,
        LATE,
        "test_i16_random_selectors_differ_between_modules_and_seeds_and_repeat",
        {"name": "r_cla"},
    ),
    (
        with_the_same_factor_at_every_link,
        EARLY,
        "test_i10_the_rank_of_the_update_is_bounded_by_links_times_r",
        {"name": "rac"},
    ),
    (without_the_scale, ORACLES, "test_lora_has_the_librarys_forward_and_gradients", {"family": "bert"}),
    (without_the_scale, EARLY, "test_i03_cla_is_asym_with_a_selector_for_a", {}),
    (with_the_ratio_swapped, LATE, "test_i15_lora_plus_at_ratio_one_is_lora_and_its_ratio_is_exact", {}),
    (with_the_ratio_swapped, ORACLES, "test_lora_plus_follows_the_librarys_optimizer", {"ratio": 16.0}),
    (with_both_factors_trained, LATE, "test_i13_what_is_frozen_stays_bitwise_inside_a_link", {"name": "rac"}),
    (with_both_factors_trained, LATE, "test_i20_trainable_counts_are_those_of_the_study", {"shape": "gpt2"}),
    (
        with_stale_moments,
        EARLY,
        "test_i11_a_chain_step_starts_the_adapter_afresh_and_leaves_the_head",
        {"name": "cola"},
    ),
    (without_any_chain_step, EARLY, "test_i10_the_rank_of_the_update_is_bounded_by_links_times_r", {"name": "cola"}),
    (without_the_zero_start, PROMISES, "test_the_output_is_unchanged_at_attach", {"family": "vit", "name": "lora"}),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("mutate, file, test, arguments", BROKEN, ids=lambda x: getattr(x, "__name__", None))
def test_a_broken_promise_is_noticed(lab, monkeypatch, mutate, file, test, arguments):
    guard = getattr(loaded(file), test)
    guard(lab, **arguments)
    mutate(monkeypatch)
    with pytest.raises((AssertionError, MethodError)):
        guard(lab, **arguments)


@pytest.mark.parametrize("mutation", sorted({entry[0].__name__ for entry in BROKEN}))
def test_the_readme_lists_every_mutation(mutation):
    assert mutation.replace("_", " ") in (HERE / "README.md").read_text(encoding="utf-8")
