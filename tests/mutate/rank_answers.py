"""Faults of what is said about ranks after training: searched, shared out, recommended, judged, drawn, served."""

from tests.mutate.fault import Fault

STUDY, TPE = "harness/planning/search/study.py", "harness/planning/search/tpe.py"
BUDGET, ADVICE, SHRINK = "harness/cli/budget.py", "harness/cli/recommend_rank.py", "harness/probe/shrink.py"
RULES, TABLES, MAP = "analysis/rank_rules.py", "analysis/tables/ranks.py", "analysis/figures/learned_ranks.py"
UNSEEN = ("tests/analysis/test_rank_rules.py::"
          "test_test_scores_of_settings_that_validation_does_not_prefer_change_nothing",)  # fmt: skip
TOLD = ("tests/planning/test_search.py::test_optuna_is_told_of_each_ranks_once_by_the_score_at_the_most_steps",)
SHARED = ("tests/cli/test_budget.py::test_a_budget_over_layers_holds_and_says_what_each_way_captures",)
MAPPED = ("tests/analysis/test_rank_tables.py::test_the_map_has_each_rank_in_the_cell_of_its_layer_and_module",)

RANK_ANSWERS = (
    Fault("a trial's score is of test", STUDY, 'sign * float(record.selected["value"])',
          'sign * float(record.scores["test"][planned.spec["dataset"]["metric"]].value)',
          ("tests/cli/test_search.py::test_the_labels_of_test_change_nothing_in_a_search",)),
    Fault("more trials are another study", STUDY, 'if key not in ("trials", "at_once")', 'if key != "at_once"',
          ("tests/cli/test_search.py::test_a_search_goes_on_where_it_was_and_its_trials_are_runs_of_the_store",)),
    Fault("TPE is told the shortest trial's score", TPE, "scores[max(scores)]", "scores[min(scores)]", TOLD),
    Fault("TPE is told that a pruned trial is complete", TPE,
          "TrialState.COMPLETE if last in scores else TrialState.PRUNED", "TrialState.COMPLETE", TOLD),
    Fault("a component's gain is σ", BUDGET, "[value**2 / total for value in values]",
          "[value / total for value in values]", SHARED),
    Fault("no evidence is quoted", ADVICE, "evidence = load(EVIDENCE)(settings.runs)", 'evidence = ["No evidence"]',
          ("tests/analysis/test_rank_evidence.py::test_the_verb_quotes_the_evidence_of_its_store",)),
    Fault("advice is made from the last seed", ADVICE, "(-seed, rank, run.id)", "(seed, rank, run.id)",
          ("tests/analysis/test_rank_evidence.py::"
           "test_a_recommendation_of_a_sweep_is_made_from_the_widest_finished_run_of_the_first_seed",)),
    Fault("a rule's rate is chosen by test", RULES,
          'runs.groupby(["label", "lr"])["val_score"]', 'runs.groupby(["label", "lr"])["shown"]', UNSEEN),
    Fault("a rule's rank is chosen by test", RULES,
          '_chosen(frame, block, runs)["val_score"]', '_chosen(frame, block, runs)["shown"]', UNSEEN),
    Fault("the source's training costs nothing", TABLES,
          "search = _source_seconds(frame, runs) + _study", "search = _study",
          ("tests/analysis/test_rank_tables.py::"
           "test_what_the_runs_took_that_a_strategy_starts_from_stands_beside_it",)),
    Fault("modules of the map are in another order than their names", MAP,
          "wide = wide.reindex(columns=[target for target in (*ATTENTION, *MLP) if target in wide.columns])",
          "wide = wide[sorted(wide)].set_axis([t for t in (*ATTENTION, *MLP) if t in wide], axis=1)", MAPPED),
    Fault("an adapter that was cut stays cut", SHRINK, "            _set(updates[path], b, a)\n", "            pass\n",
          ("tests/probe/test_shrink.py::"
           "test_both_factors_lose_their_share_while_they_are_looked_at_and_come_back_as_they_were",)),
)  # fmt: skip
