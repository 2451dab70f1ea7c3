"""Faults of ranks: by hand and by depth, grown, gated, reassigned, drawn, squeezed; of updates with f(BA)."""

from tests.mutate.fault import Fault

RANKS, ADAPTERS, STAGES = "methods/ranks.py", "methods/adapters.py", "methods/stages.py"
GATED, NESTED, SINC, RESIZE = (f"methods/update/{name}.py" for name in ("gated", "nested", "sinc", "resize"))
TRIALS = "harness/cli/search_trials.py"
GROW, REASSIGN, SQUEEZE = (f"methods/schedule/{name}.py" for name in ("grow", "reassign", "squeeze"))


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/methods/test_{file}.py::test_{test}" for test in tests)


OF_PATTERN = _in("ranks", "a_rank_for_each_kind_and_layer_is_the_librarys_rank_pattern[bert]")
OF_GROWTH = _in("grow", "each_growth_keeps_the_function_and_the_moments_and_frees_the_new_rows[bert]")
OF_STALL = _in("grow", "adaptive_growth_waits_until_validation_stalls_and_asks_each_score_once")
OF_DYLORA = _in("rank_methods", "a_step_of_dylora_is_of_the_first_components_and_trains_the_last_of_them")
OF_PROJECTED = _in("squeeze", "projected_first_moments_are_the_gradients_of_the_new_factors")
OF_JOBS = ("tests/slurm/test_search.py::test_trials_are_jobs_of_their_own_some_at_once_and_a_lost_one_comes_again",)
OF_STAGE = _in("compress", "as_many_steps_as_stages_are_one_each")

RANKED = (
    Fault("a weight of another rank has another scale", ADAPTERS,
          "alpha=own.alpha * rank / own.rank", "alpha=own.alpha", OF_PATTERN),
    Fault("every layer is the first", ADAPTERS,
          "rank_of(ranks, own.rank, site.target, site.layer, depth)", "rank_of(ranks, own.rank, site.target, 0, depth)",
          OF_PATTERN),
    Fault("the last layer of a range is left out", RANKS, "range(first, last + 1)", "range(first, last)",
          _in("ranks", "both_ends_of_a_range_of_layers_are_in_it")),
    Fault("the largest rank is of any target", RANKS,
          "max(rank for key, rank in ranks.items() if _read(key)[1] == target)", "max(ranks.values())",
          _in("ranks", "the_largest_rank_of_a_target_is_of_its_own_keys")),
    Fault("new components move the model at once", RESIZE,
          "old.new_zeros(len(old), more)], dim=1)", "old.new_ones(len(old), more)], dim=1)", OF_GROWTH),
    Fault("growth forgets the moments", GROW, "rows, moments=True)", "rows, moments=False)", OF_GROWTH),
    Fault("the rank grows at the last step", GROW, "if progress.step >= progress.total:", "if False:",
          _in("grow", "the_rank_follows_its_formula_and_never_falls")),
    Fault("an equal score is no stall", GROW, "max(new) <= max(old)", "max(new) < max(old)", OF_STALL),
    Fault("a score is asked about again", GROW, "scores[: self._seen], scores[self._seen :], len(scores)",
          "scores[: self._seen], scores[self._seen :], self._seen", OF_STALL),
    Fault("gates shrink by twice the threshold", GATED,
          "softshrink(self.gate, self._spec.shrink)", "softshrink(self.gate, 2 * self._spec.shrink)",
          _in("rank_methods", "the_gate_is_moved_by_the_proximal_operator_and_not_by_twice_of_it")),
    Fault("the penalty is a mean of the weights' means", GATED,
          "self.gate.abs().sum() / gates", "self.gate.abs().mean() / len(self.peers)",
          _in("rank_methods", "the_penalty_is_lambda_times_the_mean_gate_over_all_weights")),
    Fault("the gates of SoRA are ones", GATED, 'if self._spec.init_gate == "normal" else ones', "if False else ones",
          _in("rank_methods", "gates_are_normal_for_sora_and_ones_for_l1ra")),
    Fault("a gated update's gate is no part of its state", GATED,
          'return super().state() | {"gate": self.gate.detach()}', "return super().state()",
          _in("rank_methods", "l1ra_resumes_bit_for_bit_after_its_ranks_moved")),
    Fault("a component at a lower rank keeps the scale", NESTED, "(self._spec.rank / rank) ** 0.5", "1.0", OF_DYLORA),
    Fault("a step trains all components that it has", NESTED, "if not self._spec.freeze:", "if True:", OF_DYLORA),
    Fault("the largest rank is never drawn", NESTED,
          "torch.randint(self._spec.rank,", "torch.randint(self._spec.rank - 1,",
          _in("rank_methods", "all_weights_have_the_same_rank_in_a_step_and_every_rank_comes")),
    Fault("a weight may lose all components", REASSIGN, "or [int(gate.argmax())]", "or []",
          _in("rank_methods", "a_weight_keeps_one_component_and_nothing_is_lost_when_nobody_can_take_it")),
    Fault("the least sure weight takes first", REASSIGN,
          "key=lambda path: -float(self", "key=lambda path: float(self",
          _in("rank_methods", "what_is_cut_goes_round_the_weights_that_lost_nothing_the_surest_first")),
    Fault("a weight grows beyond its width", REASSIGN,
          "rank < min(site.in_features, site.out_features)", "rank < site.in_features",
          _in("rank_methods", "no_weight_grows_beyond_its_own_width")),
    Fault("f of a learned sum is not zero at zero", SINC, " - _sinc(-omega * centre))", ")",
          _in("contract", "the_output_is_unchanged_at_attach[lr_lora-bert]")),
    Fault("moments are projected by the other factor", SQUEEZE,
          "lambda g: g @ m.T, lambda v: v @ m.T.square()", "lambda g: g @ n, lambda v: v @ n.square()", OF_PROJECTED),
    Fault("a squeezed update that is zero has no gradient", SQUEEZE,
          "a = drawn.to(small.a.device, small.a.dtype)", "a = torch.zeros_like(drawn)",
          _in("squeeze", "every_parameter_has_a_gradient_after_each_change_even_of_an_update_that_is_zero")),
    Fault("a state of a larger rank is a candidate", SQUEEZE,
          'return len(facts["squeezes"]) < len(self._squeezes)', "return False",
          _in("squeeze", "a_state_of_a_larger_rank_is_no_candidate")),
    Fault("as many steps as stages are too few", STAGES, "steps < len(ranks)", "steps <= len(ranks)", OF_STAGE),
    Fault("all trials of a search are open at once", TRIALS,
          "if len(open_ids) < search.spec.at_once else None", "if True else None", OF_JOBS),
    Fault("a lost job is not submitted again", TRIALS, "if not more and (not open_ids or not left):", "if not more:",
          ("tests/slurm/test_search.py::test_a_search_whose_jobs_vanish_gives_up_and_says_which_trials_have_no_record",)),
)  # fmt: skip
