"""Faults of a run: loop, optimizer, timeline, loader, evaluation, checkpoint, record; of splits, texts and audit."""

from tests.mutate.fault import Fault

LOOP, RUN, CHECKPOINT = "harness/training/loop.py", "harness/training/run.py", "harness/training/checkpoint.py"
SHARDING = "harness/training/sharding.py"
OPTIMIZER, SCHEDULE = "harness/training/optimizer.py", "harness/training/schedule.py"
LOADER, EVALUATE, RECORD = (f"harness/training/{name}.py" for name in ("loader", "evaluate", "record"))
SPLITS = "harness/data/splits.py"


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/{file}.py::test_{test}" for test in tests)


OF_STEP = _in("training/test_loop", "a_step_clips_its_gradients_and_has_a_dropout_seed_of_its_own")
OF_GRADIENTS = _in("training/test_loop", "a_method_sees_the_gradients_of_the_step_and_none_of_the_step_before")
OF_LOSS = _in("training/test_loop", "a_step_minimises_the_mean_loss_of_its_examples_and_the_penalty_once")
OF_POINT = _in("training/test_loop", "a_point_of_the_curve_is_of_the_steps_since_the_last_one")
OF_BEST = _in("training/test_loop", "the_weights_that_are_tested_are_those_of_the_best_evaluation")
OF_BETTER = _in("training/test_loop", "the_first_of_equal_evaluations_stays_the_best")
OF_FINITE = _in("training/test_loop", "a_loss_that_is_no_finite_number_ends_the_run")
OF_EVALUATION = _in("training/test_loop", "an_evaluation_is_without_gradients_in_eval_mode_and_puts_the_mode_back")
OF_STOPPED = _in("training/test_checkpoint", "a_stopped_run_goes_on_with_all_that_it_had")
OF_PADDING = _in("training/test_loop",
                 "the_timer_of_steps_counts_examples_tokens_and_padding_of_all_micro_batches")  # fmt: skip
OF_HALVED = _in("training/test_growth", "a_halved_rank_is_recorded_logged_and_counted")
OF_OPTIMIZER, OF_LOADER = ("tests/training/test_optimizer.py",), ("tests/training/test_loader.py",)
OF_SCHEDULE, OF_SPLITS = ("tests/training/test_schedule.py",), ("tests/data/test_splits.py",)

TRAINING = (
    Fault("clipping is off", LOOP, "clip(optimizer, limit)", "pass", OF_STEP),
    Fault("dropout has one seed for all steps", LOOP, '.of("dropout", step)', '.of("dropout", 0)', OF_STEP),
    Fault("gradients are gone before a method sees them", LOOP,
          "    optimizer.step()\n", "    optimizer.step()\n    optimizer.zero_grad(set_to_none=True)\n", OF_GRADIENTS),
    Fault("gradients of the step before are never cleared", LOOP,
          "optimizer.zero_grad(set_to_none=True)  #", "pass  #", OF_GRADIENTS),
    Fault("a method is told the step before", LOOP, "Progress(step + 1,", "Progress(step,", OF_GRADIENTS),
    Fault("a method takes the epoch's steps for the run's", LOOP, "schedule.total, schedule.steps_per_epoch, scores)",
          "schedule.steps_per_epoch, schedule.total, scores)", OF_GRADIENTS),
    Fault("a change is logged at the step before", LOOP, '"step": step + 1})', '"step": step})', OF_HALVED),
    Fault("padding counts as tokens", LOOP,
          "tokens=sum(b.tokens for b in window)", "tokens=sum(b.padded_tokens for b in window)", OF_PADDING),
    Fault("what a step changed never reaches the optimizer", LOOP,
          "apply_change(optimizer, change, lambda", "(lambda *given: None)(optimizer, change, lambda",
          _in("training/test_loop", "moments_are_forgotten_where_a_method_says_so_and_nowhere_else")),
    Fault("every moment is forgotten at a link's end, the head's too", OPTIMIZER,
          "optimizer.state.pop(parameter, None)", "optimizer.state.clear()",
          _in("methods/test_identities", "i11_a_chain_step_starts_the_adapter_afresh_and_leaves_the_head[cola]")),
    Fault("a penalty has no gradient", LOOP, "penalty.backward()", "pass", OF_LOSS),
    Fault("a penalty is not part of the loss", LOOP, "total += penalty.detach()", "pass", OF_LOSS),
    Fault("a micro-batch counts as a whole step", LOOP, "counted / weight", "counted / batch.weight", OF_LOSS),
    Fault("an early stop waits for one evaluation more", LOOP, ">= patience", "> patience",
          _in("training/test_loop", "training_stops_after_exactly_so_many_evaluations_without_a_better_one")),
    Fault("the last of equal evaluations is the best", LOOP, "return value > than if", "return value >= than if",
          OF_BETTER),
    Fault("the highest loss is the best", LOOP, "else value < than", "else value > than", OF_BETTER),
    Fault("the best weights move on with training", SHARDING, 'whole.to("cpu", copy=True)', "whole", OF_BEST),
    Fault("the weights that are tested are the last", RUN,
          "context.method.restore(context.scattered(state.best.tensors), state.best.facts)", "pass", OF_BEST),
    Fault("an infinite loss trains on", LOOP, "if not math.isfinite(value):", "if math.isnan(value):", OF_FINITE),
    Fault("the loss of a point is that since the beginning", LOOP,
          "    state.loss_sum, state.loss_steps = 0.0, 0\n", "", OF_POINT),
    Fault("the rate of a point is that of the next step", LOOP,
          "schedule.rate(max(0, state.step - 1))", "schedule.rate(state.step)", OF_POINT),
    Fault("a step trains at the rate of the next", LOOP,
          "set_rate(optimizer, schedule.rate(step))", "set_rate(optimizer, schedule.rate(step + 1))", OF_POINT),
    Fault("a point has the seconds of the evaluation", LOOP,
          'train_seconds=context.clocks.seconds()["train"]', 'train_seconds=context.clocks.seconds()["eval"]',
          OF_POINT),
    Fault("a point's epoch is a share of the run", LOOP,
          "epoch=state.step / schedule.steps_per_epoch", "epoch=state.step / schedule.total", OF_POINT),
    Fault("a micro-batch is one example", LOOP,
          "sum(len(batch.ids) for batch in window)", "len(window)", OF_POINT),
    Fault("the epoch of the best is a share of the run", RECORD,
          "state.best.step / schedule.steps_per_epoch", "state.best.step / schedule.total", OF_POINT),
    Fault("trainable parameters leave out the head", RECORD,
          '"trainable": sum(counts.values())', '"trainable": counts["adapter"]',
          _in("training/test_run", "the_ledger_and_the_counts_are_exact")),
    Fault("an evaluation keeps gradients", EVALUATE, "with torch.no_grad(), autocast:", "with autocast:",
          OF_EVALUATION),
    Fault("an evaluation drops units out", EVALUATE, "model.eval()", "model.train()", OF_EVALUATION),
    Fault("training goes on in eval mode", EVALUATE, "model.train(training)", "pass", OF_EVALUATION),
    Fault("predictions are in the order of their batches", EVALUATE,
          "[by_row[row] for row in sorted(by_row)]", "list(by_row.values())", OF_EVALUATION),
    Fault("the betas are the library's", OPTIMIZER, "betas=(recipe.betas[0], recipe.betas[1]), ", "", OF_OPTIMIZER),
    Fault("epsilon is the library's", OPTIMIZER, "eps=recipe.eps, ", "", OF_OPTIMIZER),
    Fault("the head has the adapters' rate", OPTIMIZER,
          "method.groups(recipe.lr, recipe.head_lr,", "method.groups(recipe.lr, recipe.lr,", OF_OPTIMIZER),
    Fault("rates multiply from step to step", OPTIMIZER, '= group["base_lr"] *', '= group["lr"] *', OF_OPTIMIZER),
    Fault("a saved optimizer brings its rates", OPTIMIZER,
          '"param_groups": own["param_groups"]', '"param_groups": state["param_groups"]', OF_OPTIMIZER),
    Fault("a parameter that grows loses its moments", OPTIMIZER,
          "if not state or (moments := replaced.moments) is None:",
          "if (moments := replaced.moments) is None or True:",
          _in("methods/test_growth", "a_parameter_that_grows_keeps_its_moments_and_has_none_for_its_new_rows")),
    Fault("the first step of a warm-up stands still", SCHEDULE,
          "(step + 1) / (self.warmup + 1)", "step / (self.warmup + 1)", OF_SCHEDULE),
    Fault("the warm-up ends below the recipe's rate", SCHEDULE,
          "(step + 1) / (self.warmup + 1)", "(step + 1) / (self.warmup + 2)", OF_SCHEDULE),
    Fault("the warm-up is a share of a step", SCHEDULE,
          "recipe.warmup_ratio * total", "recipe.warmup_ratio / total", OF_SCHEDULE),
    Fault("the rate falls over the warm-up too", SCHEDULE,
          "max(1, self.total - self.warmup)", "max(1, self.total)", OF_SCHEDULE),
    Fault("the floor is added to the whole rate", SCHEDULE,
          "(1 - self.final_ratio) * fall", "fall", OF_SCHEDULE),
    Fault("evaluations are early by rounding", SCHEDULE,
          "round(j * total / recipe.evaluations)", "int(j * total / recipe.evaluations)", OF_SCHEDULE),
    Fault("max_steps lengthens a training", SCHEDULE, "min(total, recipe.max_steps)", "max(total, recipe.max_steps)",
          OF_SCHEDULE),
    Fault("augmentation is equal in every epoch", LOADER, '.of("augment", epoch, step)', '.of("augment", 0, step)',
          _in("training/test_loop", "augmentation_is_another_one_in_every_epoch")),
    Fault("every epoch has one order", LOADER, '.of("data", "order", epoch)', '.of("data", "order", 0)', OF_LOADER),
    Fault("the last rows of an epoch are never met", LOADER,
          "-(-len(self.examples) // self.batch_size)", "len(self.examples) // self.batch_size", OF_LOADER),
    Fault("accumulation makes steps without a batch", LOADER,
          "-(-micro // self.accumulate)", "-(-micro * self.accumulate)", OF_LOADER),
    Fault("a resumed run skips into every epoch", LOADER, "epoch + 1, 0", "epoch + 1, skip", OF_LOADER),
    Fault("the reference batch is of the shortest rows", LOADER,
          "(-self.lengths[row], row)", "(self.lengths[row], row)", OF_LOADER),
    Fault("a restart loses its moments", CHECKPOINT,
          "load_optimizer(optimizer := build_optimizer(context.method, context.spec.recipe), moments)",
          "optimizer = build_optimizer(context.method, context.spec.recipe)", OF_STOPPED),
    Fault("a restart forgets the best checkpoint", CHECKPOINT,
          "state.best, state.curve = best, ", "state.best, state.curve = None, ", OF_STOPPED),
    Fault("a restart forgets the loss since the last point", CHECKPOINT,
          "= facts.loss_sum, facts.loss_steps", "= 0.0, 0", OF_STOPPED),
    Fault("a restart counts examples from none", CHECKPOINT,
          "state.step, state.samples = facts.step, facts.samples", "state.step = facts.step", OF_STOPPED),
    Fault("a restart is no attempt", CHECKPOINT, "facts.attempts + 1", "facts.attempts", OF_STOPPED),
    Fault("a restart forgets the steps it timed", CHECKPOINT, "    context.timer.restore(facts.timer)\n", "",
          OF_STOPPED),
    Fault("a damaged file is read", CHECKPOINT, "if _digest(home / name) != digest:", "if False:",
          _in("training/test_checkpoint",
              "a_damaged_checkpoint_is_kept_aside_and_the_run_starts_anew[method one bit]")),
    Fault("links are those of the best checkpoint", RUN,
          "        state.links = tuple(context.method.history())\n        if settings.keep_last:\n",
          "        test(context, state)\n        state.links = tuple(context.method.history())\n"
          "        if settings.keep_last:\n",
          _in("training/test_run", "a_chain_records_every_link_whichever_checkpoint_is_best[cola]")),
    Fault("a stratum of one row is emptied", SPLITS,
          "quotas[stratum] < sizes[stratum] - 1", "quotas[stratum] < sizes[stratum]",
          _in("data/test_splits", "the_one_row_of_a_class_stays_in_train")),
    Fault("a pair may have no token of its own", "harness/tasks/tokens.py", "if least >= room:", "if least > room:",
          _in("tasks/test_room", "an_encoder_keeps_something_of_each_text_or_refuses_the_row[mrpc]")),
    Fault("property tests draw anew each time", "tests/conftest.py", "derandomize=True", "derandomize=False",
          _in("test_conftest", "property_tests_meet_the_same_examples_each_time_and_explore_draws_anew")),
    Fault("a group too many is held out", SPLITS, "if len(held) >= count:", "if len(held) > count:", OF_SPLITS),
    Fault("upstream ids may repeat", SPLITS, "if len(set(keys)) < len(keys):", "if False:", OF_SPLITS),
    Fault("the digest is of an order of rows", SPLITS, '"\\n".join(sorted(keys))', '"\\n".join(keys)', OF_SPLITS),
    Fault("validation and test share their rows", SPLITS,
          "SplitRows(split.validation, tuple(_without(rows, parts[\"validation\"].rows)))",
          "SplitRows(split.validation, rows)",
          OF_SPLITS),
    Fault("memory of a step is the ledger's on a GPU too", "analysis/load.py",
          'rows["step_bytes"] = rows["train_allocated_bytes"].where(on_gpu, ledger)', 'rows["step_bytes"] = ledger',
          _in("analysis/test_load", "memory_of_a_step_is_the_ledger_on_a_cpu_and_what_was_allocated_on_a_gpu")),
    Fault("clocks may be a tenth off", "analysis/checks/clocks.py", "SHARE, SECONDS = 0.01,", "SHARE, SECONDS = 0.10,",
          _in("analysis/test_audit", "clocks_may_be_a_hundredth_off_and_no_more")),
)  # fmt: skip
