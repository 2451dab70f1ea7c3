"""Faults of the methods: updates and their fast paths, selectors, chains, head, injection, peft, compression."""

from tests.mutate.fault import Fault

UPDATE = "methods/update"
LOW_RANK, LOW_RANK_LINEAR = f"{UPDATE}/low_rank.py", f"{UPDATE}/low_rank_linear.py"
COLUMNS, COLUMNS_LINEAR = f"{UPDATE}/columns.py", f"{UPDATE}/columns_linear.py"
SELECTOR, INIT, BA_SPARSE, BASE = (f"{UPDATE}/{name}.py" for name in ("selector", "init", "ba_sparse", "base"))
CHAIN, LINK_ENDS = "methods/schedule/chain.py", "methods/schedule/link_ends.py"
ADAPTERS, HEAD, INJECT, SITES, WHOLE, PEFT, COMPRESS = (
    f"methods/{name}.py" for name in ("adapters", "head", "inject", "sites", "whole", "peft_library", "compress")
)


def _in(file: str, *tests: str) -> tuple[str, ...]:
    return tuple(f"tests/methods/test_{file}.py::test_{test}" for test in tests)


OF_FILES = ("tests/cli/test_method_files.py",)
OF_COMPRESS = ("tests/methods/test_compress.py",)
OF_COLA, OF_C3LA = (
    _in("identities", f"i02_every_chain_step_preserves_the_function[{name}]") for name in ("cola", "c3la")
)
OF_ASYM = _in("identities", "i03_cla_is_asym_with_a_selector_for_a")
OF_MERGE = _in("contract", "merge_leaves_the_function_and_only_plain_modules[lora-gpt2]")
OF_VISITED = _in("identities", "i08_the_update_touches_exactly_the_visited_windows[3-4-c3la]")
OF_WINDOWS = _in("identities", "i09_windows_do_not_repeat_until_all_are_used")
OF_SELECTORS = _in("identities_12_to_22", "i16_random_selectors_differ_between_modules_and_seeds_and_repeat")
OF_MASK = _in("identities_12_to_22", "i18_the_mask_keeps_the_top_of_row_and_column")
OF_RATES = _in("contract", "rates_and_decay_follow_one_rule")
OF_BOUND = _in("identities", "i10_the_rank_of_the_update_is_bounded_by_links_times_r[rac]")
OF_ORACLE = _in("oracles", "lora_has_the_librarys_forward_and_gradients[bert]")
OF_LOW_RANK_PATH = _in("fast_paths", "low_rank_gradients_are_those_of_the_dense_product")
OF_COLUMN_PATH = _in("fast_paths", "column_gradients_are_those_of_the_dense_product")
OF_PENALTY = _in("peft_library", "adaloras_penalty_is_its_papers_and_so_is_its_gradient")
OF_INIT = _in("growth", "kaimings_bound_is_of_the_inputs_which_are_the_columns",
              "normal_first_values_have_the_studys_deviation_and_frames_are_orthonormal")  # fmt: skip
OF_ENDS = _in("configs", "links_end_where_the_study_says", "k_links_end_at_the_rounded_parts")


def _each(what: str, file: str, before: str, after: str, *tests: str) -> tuple[Fault, ...]:
    """A fault that each of the tests must notice on its own."""
    return tuple(Fault(f"{what} (guard {n})", file, before, after, (test,)) for n, test in enumerate(tests, 1))


def _back(name: str) -> tuple[str, ...]:
    return _in("contract", f"going_back_to_an_earlier_state_is_bit_for_bit[{name}]")


METHODS = (
    Fault("Kaiming's bound is of the outputs", INIT, "/ math.sqrt(shape[1])", "/ math.sqrt(shape[0])", OF_INIT),
    Fault("normal first values have a deviation of 0.2", INIT, "* 0.02", "* 0.2", OF_INIT),
    Fault("a factor that starts at zero does not", INIT, "return torch.zeros(shape, dtype=torch.float32)",
          "return torch.randn(shape, generator=generator) * 0.02",
          _in("contract", "the_output_is_unchanged_at_attach[lora-vit]")),
    *_each("the scale is one", LOW_RANK, "self.scale = spec.alpha / spec.rank", "self.scale = 1.0",
           *OF_ORACLE, *OF_ASYM),
    *_each("A is trained where it is frozen", LOW_RANK, "or spec.train_a)", "or True)",
           *_in("identities_12_to_22", "i13_what_is_frozen_stays_bitwise_inside_a_link[rac]",
                "i20_trainable_counts_are_those_of_the_study[gpt2]")),
    *_each("an update is never merged", LOW_RANK, "        weight.copy_(value)\n", "", *OF_COLA, *OF_MERGE),
    Fault("every link has the factor of the first", LOW_RANK,
          'draw("init", "adapter", self.site.path, link)', 'draw("init", "adapter", self.site.path, 0)', OF_BOUND),
    Fault("W is not put back", LOW_RANK, "self._writable().copy_(self._original)", "pass", _back("cola")),
    Fault("links below the resolution of W are lost", LOW_RANK,
          "if self._original is None or weight.dtype == self.a.dtype:", "if True:",
          _in("precision", "bf16_chains_keep_what_single_merges_would_round_away")),
    Fault("the gradient of A has no scale", LOW_RANK_LINEAR,
          ".mul_(scale).to(a.dtype)", ".to(a.dtype)", OF_LOW_RANK_PATH),
    Fault("the gradient of B has no scale", LOW_RANK_LINEAR,
          ".mul_(scale).to(b.dtype)", ".to(b.dtype)", OF_LOW_RANK_PATH),
    Fault("the update passes no gradient to its input", LOW_RANK_LINEAR,
          "dx.addmm_(narrow, a.to(g.dtype), alpha=scale)", "pass", OF_LOW_RANK_PATH),
    Fault("the gradient of columns has no scale", COLUMNS_LINEAR,
          ".mul_(scale).to(b_dtypes[n])", ".to(b_dtypes[n])", OF_COLUMN_PATH),
    Fault("the gradient of columns is of all rows", COLUMNS_LINEAR,
          "g[:, low:high].t()", "g[:, : high - low].t()", OF_COLUMN_PATH),
    Fault("a gather is kept after its input was changed", COLUMNS_LINEAR, "_last[1] == x._version and ", "",
          _in("fast_paths", "an_input_changed_in_place_is_gathered_anew")),
    Fault("a column step never reaches W", COLUMNS,
          "    def after_step(self, progress: Progress) -> None:\n        self._write()\n",
          "    def after_step(self, progress: Progress) -> None:\n        pass\n",
          OF_ASYM),
    *_each("columns are put back at a link's end", COLUMNS, "        self._value[:, self._here] = now\n",
           "        self._value[:, self._here] = now\n        self.reset()\n", *OF_C3LA, *OF_VISITED),
    *_each("columns are those of the first link", COLUMNS, "self.site.path, link, draw)", "self.site.path, 0, draw)",
           *OF_VISITED, *OF_WINDOWS),
    Fault("a finished link of columns is forgotten", COLUMNS, "        self._value[:, self._here] = now\n", "",
          _in("identities", "i08_the_update_touches_exactly_the_visited_windows[9-4-c3la]",
              "i07_a_chain_of_one_link_is_its_parent") + _in("fallback",
              "quantised_weights_are_exported_and_never_merged[c3la]")),
    Fault("columns are not put back", COLUMNS,
          "self.site.weight.index_copy_(1, self._touched.to(self.index.device), self._before)", "pass", _back("c3la")),
    Fault("windows shift by one column", SELECTOR, "(number * rank +", "(number +", OF_WINDOWS),
    Fault("the last window is cut off", SELECTOR, "return -(-width // rank)", "return width // rank", OF_WINDOWS),
    Fault("shuffled windows are drawn anew at every link", SELECTOR,
          "generator=draw(*use, cycle)", "generator=draw(*use, link)", OF_WINDOWS),
    Fault("modules share their random columns", SELECTOR,
          '("selector", path) if spec.stream is None', '("selector",) if spec.stream is None', OF_SELECTORS),
    Fault("a window never reaches the last columns", SELECTOR,
          "torch.randint(width - rank + 1,", "torch.randint(width - rank,",
          _in("selectors", "a_window_is_neighbours_at_every_offset_that_fits_and_no_other")),
    Fault("random columns are neighbours", SELECTOR, 'if spec.selector == "random":', "if False:",
          _in("selectors", "random_columns_are_distinct_in_order_and_need_not_be_neighbours")),
    Fault("random columns are equal for all seeds", SELECTOR, "torch.randperm(width, generator=generator)",
          "torch.randperm(width, generator=torch.Generator().manual_seed(0))", OF_SELECTORS),
    Fault("a mask keeps the top of row or column", BA_SPARSE,
          "(size >= by_row) & (size >= by_column)", "(size >= by_row) | (size >= by_column)", OF_MASK),
    Fault("a mask keeps one too few of a row", BA_SPARSE,
          "size.topk(math.ceil(share * width), dim=1)", "size.topk(max(1, math.ceil(share * width) - 1), dim=1)",
          OF_MASK),
    Fault("a masked update is whole in evaluation", BA_SPARSE,
          "return self.scale * (self.b @ self.a) * self.mask", "return self.scale * (self.b @ self.a)",
          _in("identities_12_to_22", "i18_the_evaluated_update_is_masked")),
    Fault("an update masked in training is masked in evaluation alone", BA_SPARSE,
          'return self._spec.mask == "training" or not self.training', "return not self.training",
          _in("masks", "an_update_masked_in_training_gives_its_masked_product_while_it_trains[ba_sparse_lora]")),
    Fault("every evaluation takes a mask", BA_SPARSE, 'if not mode and self._spec.mask == "final":', "if not mode:",
          _in("masks", "an_evaluation_or_a_merge_takes_no_mask_of_an_update_masked_in_training")),
    Fault("every step takes a mask", BA_SPARSE,
          'self._spec.mask == "training" and progress.step % self._spec.every == 0', 'self._spec.mask == "training"',
          _in("masks", "a_mask_is_taken_after_every_so_many_steps")),
    Fault("a fast path is inherited", BASE, 'if "fast_path" not in cls.__dict__:', "if False:",
          _in("growth", "an_update_without_a_fast_path_runs_on_its_branch")),
    Fault("cast_error is always 0", CHAIN, "lost / moved if moved else 0.0", "0.0",
          _in("growth", "the_cast_error_of_a_link_is_what_rounding_w_lost")),
    Fault("every link has the draws of the first", CHAIN,
          "update.begin(self.draw, len(self._links))", "update.begin(self.draw, 0)", OF_BOUND),
    Fault("no link ever ends", CHAIN, "if ends_at(self._length, progress.step, progress.total):", "if False:",
          _in("identities", "i10_the_rank_of_the_update_is_bounded_by_links_times_r[cola]")),
    Fault("a new link has the moments of the old", CHAIN, "Change(forget=trained,", "Change(forget=(),",
          _in("identities", "i11_a_chain_step_starts_the_adapter_afresh_and_leaves_the_head[cola]")),
    Fault("a finished link is the one in progress", CHAIN, 'tensor.to("cpu", copy=True)', "tensor",
          _in("contract", "a_fresh_model_restored_in_mid_chain_goes_on_bit_for_bit[cola-bert]")),
    Fault("finished links are not merged again", CHAIN, "                update.end()\n", "",
          _in("contract", "a_fresh_model_restored_in_mid_chain_goes_on_bit_for_bit[cola-bert]")),
    Fault("a chain that never merged is done", CHAIN, "and len(self._links) != due:", "and False:",
          _in("identities_12_to_22", "i22_a_chain_whose_steps_were_skipped_is_an_error")),
    Fault("a link ends at the last step", LINK_ENDS, "0 < step < total", "0 < step <= total", OF_ENDS),
    Fault("links end early by rounding", LINK_ENDS, "any(round(n * length) == step", "any(int(n * length) == step",
          OF_ENDS),
    Fault("a link of one step is refused", LINK_ENDS, "if length < 1 or", "if length <= 1 or", OF_ENDS),
    Fault("a chain that has no room trains", LINK_ENDS, "if length < 1 or round(length) >= total:", "if length < 1:",
          _in("identities_12_to_22", "i22_a_chain_that_never_merges_is_an_error")),
    *_each("LoRA+ slows B down", ADAPTERS, '"lr": lr * ratio', '"lr": lr / ratio',
           *_in("identities_12_to_22", "i15_lora_plus_at_ratio_one_is_lora_and_its_ratio_is_exact"),
           *_in("oracles", "lora_plus_follows_the_librarys_optimizer[16.0]")),
    Fault("adapters decay", ADAPTERS,
          '"params": slow, "lr": lr, "weight_decay": 0.0', '"params": slow, "lr": lr, "weight_decay": weight_decay',
          OF_RATES),
    Fault("a penalty is the mean over the sites", ADAPTERS, "torch.stack(penalties).sum()",
          "torch.stack(penalties).mean()", _in("growth", "a_penalty_of_an_update_is_summed_over_the_sites")),
    Fault("an adapter is restored onto weights that hold it", ADAPTERS,
          "        for update in self.updates.values():\n            update.reset()\n", "", _back("cola")),
    Fault("biases of the head decay", HEAD, '"weight_decay": 0.0', '"weight_decay": weight_decay', OF_RATES),
    Fault("the rest of the model stays free", HEAD, "model.requires_grad_(False)", "pass",
          _in("contract", "the_whole_head_is_trained_and_nothing_else_beside_the_adapter[lora]")),
    Fault("the head is not put back", HEAD, 'parameter.copy_(tensors[f"head.{name}"])', "pass", _back("head")),
    Fault("the head trains in half precision", HEAD,
          "parameter.data = parameter.data.to(master_dtype(parameter.dtype))", "pass",
          _in("precision", "bf16_weights_that_are_trained_themselves_lose_nothing_from_step_to_step[head]")),
    Fault("a fast path reads a weight that is quantised", INJECT,
          "type(updates[0]).fast_path if updates[0].site.writable else None", "type(updates[0]).fast_path",
          _in("fallback", "quantised_weights_train_as_their_unpacked_twins_and_are_not_written[cla]")),
    Fault("a replaced module trains whatever the model does", INJECT,
          "module.train(model.get_submodule(path).training)", "pass",
          _in("contract", "a_model_in_eval_mode_keeps_its_mode_when_a_method_is_put_in_and_taken_out")),
    Fault("every part of a fused projection is its first", SITES,
          "module, part * width, (part + 1) * width, writable", "module, 0, width, writable",
          _in("contract", "merge_leaves_the_function_and_only_plain_modules[lora-gpt2]",
              "the_parts_of_a_fused_projection_are_the_rows_that_the_model_reads")),
    Fault("full fine-tuning is not put back", WHOLE, 'tensor.copy_(tensors[f"base.{name}"])', "pass", _back("full")),
    Fault("full fine-tuning forgets the running means", WHOLE, "if name in stored}", "if name not in stored}",
          _in("contract", "full_fine_tuning_goes_back_to_the_buffers_of_an_earlier_state_too")),
    Fault("full fine-tuning rounds every step", WHOLE,
          "parameter.data = parameter.data.to(master_dtype(parameter.dtype))", "pass",
          _in("precision", "bf16_weights_that_are_trained_themselves_lose_nothing_from_step_to_step[full]")),
    Fault("AdaLoRA's penalty is a sum", PEFT, "orth_reg_weight / len(distances) *", "orth_reg_weight *", OF_PENALTY),
    Fault("AdaLoRA's penalty takes P for Q", PEFT, 'distance(p, "lora_A" in n)', 'distance(p, "lora_B" in n)',
          OF_PENALTY),
    Fault("AdaLoRA never allocates", PEFT, "self.library.base_model.update_and_allocate(progress.step)", "pass",
          _in("peft_library", "adalora_reaches_its_target_rank")),
    Fault("the library draws from the global stream", PEFT, "with torch.random.fork_rng():", "if True:",
          _in("identities_12_to_22", "i21_a_method_shifts_neither_the_head_nor_the_global_stream[vera]")),
    Fault("a library adapter has one start for all seeds", PEFT, "torch.manual_seed(generator.initial_seed())",
          "torch.manual_seed(0)", _in("peft_library", "two_seeds_draw_two_adapters_and_one_seed_one")),
    Fault("factors are not balanced", COMPRESS, "root = s[:rank].sqrt()", "root = s[:rank]", OF_COMPRESS),
    Fault("the variance kept leaves out the last value", COMPRESS, "energy[:rank].sum()", "energy[: rank - 1].sum()",
          OF_COMPRESS),
    Fault("a share is kept by one rank too few", COMPRESS, "(energy < keep * energy[-1]).sum()) + 1)",
          "(energy < keep * energy[-1]).sum()))", OF_COMPRESS),
    Fault("steps of a stage go to the smallest remainder", "methods/stages.py",
          "(lengths[stage] - shares[stage], stage)", "(shares[stage] - lengths[stage], stage)", OF_COMPRESS),
    Fault("a run is not told which text its method's file had", "harness/config/resolve.py",
          "code=file_digest(spec.update, spec.schedule)", "code=None", OF_FILES),
    Fault("code that is not the spec's is attached", "methods/build.py",
          "if spec.code != (code := file_digest(spec.update, spec.schedule)):", "if code := None:", OF_FILES),
)  # fmt: skip
