"""`peftlab serve-probe RUN|ADAPTER_DIR`: what it takes to serve an adapter, as one table and one picture."""

import json
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.cli.grammar import load
from harness.cli.serve_table import print_served
from harness.config.overrides import expand
from harness.config.settings import Settings, settings_from
from harness.ledger.errors import SpecError
from harness.ledger.life import Say, shown
from harness.ledger.parse import parse
from harness.ledger.side_record import SideRecord, write
from harness.ledger.store import Store
from harness.planning.plan import request_of

if TYPE_CHECKING:  # torch is loaded once the request is known to be sound
    from hydra.core.override_parser.types import Override

    from harness.probe.serving import ServeOptions

    Scored = Callable[[Any, str], float]

KEYS = ("ranks", "batch", "length", "new_tokens", "rounds")


def main(given: Namespace) -> int:
    """Print the table; the answer of a RUN also lies beside it (`served`). `--picture FILE.png` draws it."""
    own = {o.key_or_group: _value(o) for o in given.overrides if o.key_or_group in KEYS}
    settings = settings_from(request_of([o for o in given.overrides if o.key_or_group not in KEYS]).config)
    if given.picture is not None and given.picture.suffix != ".png":
        raise SpecError(f"--picture: {given.picture} must end in .png.")
    with shown(f"{given.source}: loading model and adapter") as say:
        from harness.probe.serving import ServeOptions

        options = parse(ServeOptions, vars(ServeOptions()) | own, "serve-probe")
        answer = _answer(given.source, settings, options, say)
    if given.picture is not None:
        load("analysis.figures.serving:draw_serving")(answer, given.picture)
    print(json.dumps(answer)) if given.json else print_served(answer)
    return 0


def _value(override: "Override") -> Any:
    """One value; of `ranks`, a list, also where it is written 8,4."""
    if override.is_sweep_override():
        return [int(a.shown) if a.shown.isdigit() else a.shown for a in expand(override)]
    if override.key_or_group == "ranks":
        return value if isinstance(value := override.value(), list) else [value]
    return override.value()


def _answer(source: str, settings: Settings, options: "ServeOptions", say: Say) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        if (folder := Path(source)).is_dir() and (folder / "adapter_config.json").is_file():
            from harness.models.adapter_base import base_of

            return _measured(base_of(folder), folder, Path(place), settings, options, None, say)
        return _of_run(source, settings, options, Path(place), say)


def _of_run(source: str, settings: Settings, options: "ServeOptions", place: Path, say: Say) -> dict[str, Any]:
    from harness.cli.serve_run import subject_of

    run_id, spec, loaded, tuned, scored = subject_of(source, settings, place / "adapter")
    if tuned is None:
        answer = _measured(loaded.model, place / "adapter", place, settings, options, scored, say)
    else:
        state = Store(settings.runs).paths(run_id).adapter / "state.safetensors"
        answer = _beside(loaded.model, tuned, state.stat().st_size, settings, options, scored, say)
    from harness.measure.clocks import pick_device
    from harness.measure.environment import provenance

    question = {**vars(options), "ranks": list(options.ranks or ()), "metric": spec.dataset.metric}
    side = SideRecord("served", 1, run_id, question, answer, provenance(pick_device(settings.device)))
    write(Store(settings.runs).paths(run_id), side)
    return {"run": run_id, **answer}


def _measured(
    base: Any,
    folder: Path,
    place: Path,
    settings: Settings,
    options: "ServeOptions",
    scored: "Scored | None",
    say: Say,
) -> dict[str, Any]:
    from harness.measure.clocks import pick_device
    from harness.models.adapter_base import adapter_config
    from harness.probe.serving import merge_errors, request_for, scores, serve

    config, device = adapter_config(folder), pick_device(settings.device)
    base = base.to(device).eval()
    request = request_for(base, options, config.get("task_type") == "CAUSAL_LM", device)
    lower = _lower(folder, place, options.ranks)
    rows, why = serve(base, folder, lower, request, say)
    sizes = {name: _bytes(path) for name, path in {"unmerged": folder, **lower}.items()}
    sizes["merged"] = sizes["base model"] = sum(p.numel() * p.element_size() for p in base.parameters())
    say("what merging rounds off, and the score of the test split")
    return {
        "rows": [row | {"bytes": sizes.get(row["way"])} for row in rows],
        "merge_error": merge_errors(base, folder, request),
        "score": None if scored is None else scores(base, folder, scored),
        "context": _context(config, base),
        "why_not_comparable": why,
        "request": _told(options),
    }


def _told(options: "ServeOptions") -> dict[str, Any]:
    return {key: value for key, value in vars(options).items() if key != "ranks"}


def _context(config: Mapping[str, Any], base: Any) -> dict[str, Any] | None:
    """The tokens that a learned prompt takes from those that the model has places for."""
    places = getattr(base.config, "max_position_embeddings", None)
    return {"tokens": tokens, "of": places} if (tokens := config.get("num_virtual_tokens")) else None


def _beside(
    base: Any, tuned: Any, size: int, settings: Settings, options: "ServeOptions", scored: "Scored", say: Say
) -> dict[str, Any]:
    """The answer of a run whose update is no PEFT adapter: the model as it was trained, beside the base."""
    from harness.measure.clocks import pick_device
    from harness.probe.serving import BASE, UNMERGED, request_for, serve_beside

    device = pick_device(settings.device)
    base, tuned = base.to(device).eval(), tuned.to(device).eval()
    rows, why = serve_beside(base, tuned, request_for(base, options, base.can_generate(), device), say)
    say("the score of the test split")
    sizes = {BASE: sum(p.numel() * p.element_size() for p in base.parameters()), UNMERGED: size}
    return {
        "rows": [row | {"bytes": sizes[row["way"]]} for row in rows],
        "merge_error": {},
        "score": {"float32": {UNMERGED: scored(tuned, "float32")}},
        "context": None,
        "why_not_comparable": why,
        "request": _told(options),
    }


def _lower(folder: Path, place: Path, ranks: Sequence[int] | None) -> dict[str, Path]:
    """The adapter at lower ranks, where it can be squeezed or ranks were asked for."""
    from harness.models.adapter_base import adapter_config

    if ranks == () or (ranks is None and adapter_config(folder).get("peft_type") != "LORA"):
        return {}
    return _squeezed(folder, place, ranks)


def _squeezed(folder: Path, place: Path, ranks: Sequence[int] | None) -> dict[str, Path]:
    """The adapter at each lower rank, in folders of their own."""
    from harness.models.lora_folder import open_lora
    from harness.models.squeeze import RankTarget, squeeze

    made = {}
    with open_lora(folder) as source:
        largest = max(pair.a.shape[0] for pair in source.pairs())
        for rank in ranks or [largest // 2**n for n in range(1, largest.bit_length())]:
            if not 1 <= rank < largest:
                raise SpecError(f"ranks: {rank} is no rank from 1 to below the adapter's own, {largest}.")
            made[f"rank {rank}"] = place / f"rank-{rank}"
            made[f"rank {rank}"].mkdir()
            squeeze(source, made[f"rank {rank}"], RankTarget(rank=rank))
    return made


def _bytes(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in ("adapter_model.safetensors", "adapter_config.json"))
