"""Faults of what is measured: clocks, memory, FLOPs and contention."""

from tests.mutate.fault import Fault

CLOCKS, MEMORY = "harness/measure/clocks.py", "harness/measure/memory.py"
BREAKDOWN, FLOPS = "harness/measure/memory_breakdown.py", "harness/measure/flops.py"
CONTENTION, DRY_STEP = "harness/measure/contention.py", "harness/measure/dry_step.py"
OF_CLOCKS, OF_MEMORY = ("tests/measure/test_clocks.py",), ("tests/measure/test_memory.py",)
OF_BREAKDOWN, OF_FLOPS = ("tests/measure/test_memory_breakdown.py",), ("tests/measure/test_flops.py",)
OF_CONTENTION = ("tests/measure/test_contention.py",)

MEASURE = (
    Fault("a clock counts from the start of the run", CLOCKS,
          "self._seconds[self._stack[-1]] += now - self._last", "self._seconds[self._stack[-1]] += now - self._start",
          OF_CLOCKS),
    Fault("a failure names the outermost clock", CLOCKS,
          "self._failed_in = self._failed_in or clock", "self._failed_in = clock", OF_CLOCKS),
    Fault("the wall clock forgets earlier attempts", CLOCKS,
          "return self._earlier_wall + self._now() - self._start", "return self._now() - self._start", OF_CLOCKS),
    Fault("a restart forgets what this attempt spent", CLOCKS,
          "self._seconds[clock] += value", "self._seconds[clock] = value", OF_CLOCKS),
    Fault("lost training is not wasted", CLOCKS,
          'max(0.0, last_seen_train - state["seconds"]["train"])', "0.0", OF_CLOCKS),
    Fault("one warm-up step too few is left out", CLOCKS, "if self._drop > 0:", "if self._drop > 1:", OF_CLOCKS),
    Fault("the fifth percentile is the tenth", CLOCKS, "(50, 5, 95)", "(50, 10, 95)", OF_CLOCKS),
    Fault("the deviation is a mean", CLOCKS,
          "np.median(np.abs(ms - median))", "np.mean(np.abs(ms - median))", OF_CLOCKS),
    Fault("padding is what is not padding", CLOCKS,
          "1 - self._tokens / self._padded_tokens", "self._tokens / self._padded_tokens", OF_CLOCKS),
    Fault("samples a second are tokens a second", CLOCKS,
          "self._samples / seconds", "self._tokens / seconds", OF_CLOCKS),
    Fault("a peak is the lowest reading", MEMORY,
          "max(value, self._bytes.get(name, 0))", "min(value, self._bytes.get(name, value))", OF_MEMORY),
    Fault("a kilobyte of the kernel is 1,000 bytes", MEMORY,
          "int(line.split()[1]) * 1024", "int(line.split()[1]) * 1000", OF_MEMORY),
    Fault("the adapter is among the weights", BREAKDOWN,
          "storage_bytes(tensors) - storage_bytes(adapter)", "storage_bytes(tensors)", OF_BREAKDOWN),
    Fault("what is kept at the end is the peak", BREAKDOWN,
          '"saved_for_backward": saved.peak', '"saved_for_backward": saved._now', OF_BREAKDOWN),
    Fault("a storage is released at its first release", BREAKDOWN,
          "if not self._holders[key]:", "if self._holders[key] >= 0:", OF_BREAKDOWN),
    Fault("a storage that is saved twice counts twice", BREAKDOWN,
          "if key not in self._holders:", "if key is not None:", OF_BREAKDOWN),
    Fault("parameters count among what is saved", BREAKDOWN,
          "if all(_key(part) in self._left_out for part in _parts(tensor)) or _is_weight(tensor):",
          "if not _parts(tensor):", OF_BREAKDOWN),
    Fault("an in-place product counts half", FLOPS,
          "return 2 * math.prod(left) * right[-1]", "return math.prod(left) * right[-1]", OF_FLOPS),
    Fault("the backward pass of attention counts as the forward pass", FLOPS,
          "return sdpa_backward_flop_count(gradient, query, key, value)", "return sdpa_flop_count(query, key, value)",
          OF_FLOPS),
    Fault("modules are named while FLOPs are counted", FLOPS,
          "    counter.mod_tracker = _NoNames()\n", "", OF_FLOPS),
    Fault("a dry step leaves buffers as it made them", DRY_STEP,
          "            _put_back(buffers)\n", "", (*OF_BREAKDOWN, "tests/methods/test_peft_library.py")),
    Fault("a dry step draws from the run's generators", DRY_STEP,
          "with torch.random.fork_rng(devices=_cuda_devices(every)):", "if True:", OF_BREAKDOWN),
    Fault("waits are shared out over threads", CONTENTION,
          'sums["wait"] / wall', 'sums["wait"] / (wall * self._threads)', OF_CONTENTION),
    Fault("a thread that began inside a window never waited", CONTENTION,
          "before.waits.get(thread, 0.0)", "before.waits.get(thread, wait)", OF_CONTENTION),
    Fault("a fifth of the time lost is comparable", CONTENTION, "MOST_LOST = 0.10", "MOST_LOST = 0.20", OF_CONTENTION),
    Fault("other processes on the GPU add up over windows", CONTENTION,
          'max(self._sums.get("gpu_others", 0.0), state.get("gpu_others", 0.0))',
          'self._sums.get("gpu_others", 0.0) + state.get("gpu_others", 0.0)', OF_CONTENTION),
)  # fmt: skip
