"""What a plan intends, as rows: names, labels, blocks and metrics. Knows no record."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.procedure import learns_ranks, only_source, procedure
from harness.ledger.plan import Plan, Planned

AXES = ("method", "model", "dataset", "seed")
_SIZES = ("rank", "ranks", "alpha")  # of a method: no variant of it, but the same one larger or smaller


def planned_rows(plan: Plan) -> pd.DataFrame:
    """One row per planned run, then one per skipped cell (its `skip` holds the sentence, its id is empty)."""
    cells: dict[tuple[int, ...], dict[str, Any]] = {}  # runs of a cell share the parts of their spec, and are one row
    rows = [_cell_of(run.spec, cells) | _own(run) for run in plan.runs]
    _name_variants(rows, [_settings(run.choices) for run in plan.runs])
    known = (
        {row["model"]: row for row in rows},
        {row["dataset"]: row for row in rows},
        {row["method_name"]: row for row in rows},
    )
    rows += [_skipped(skip.choices, skip.why, known) for skip in plan.skipped]
    frame = pd.DataFrame(rows)
    frame["label"] = _unique_labels(frame, "plain_label", "method_name")
    for axis in ("model", "dataset"):
        frame[f"{axis}_label"] = _unique_labels(frame, f"{axis}_label", axis)
    for name in ("chance", "formula_params", "start_rank", "end_rank", "own_steps", "source_steps"):
        frame[name] = frame[name].astype(float)
    frame["block"] = frame["model_label"] + " / " + frame["dataset_label"]
    frame["only_source"] = only_source(frame)
    return frame


def _settings(choices: Mapping[str, Any]) -> dict[str, str]:
    """What a person chose beside method, model, dataset and seed: the recipe and single settings."""
    return {key.removeprefix("method."): str(value) for key, value in choices.items() if key not in AXES}


def _name_variants(rows: list[dict[str, Any]], settings: list[dict[str, str]]) -> None:
    """A method tried with several settings in one block is several methods there, named by what differs
    and nothing else.

    A setting that a block has for all runs of a method (chain links per epoch, say) is a recipe and not another method.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault((row["method_name"], row["model"], row["dataset"]), []).append(i)
    for members in groups.values():
        keys = sorted({key for i in members for key in settings[i]})
        differing = [key for key in keys if len({settings[i].get(key, "") for i in members}) > 1]
        for i in members if differing else ():
            setting = ", ".join(f"{key}={settings[i][key]}" for key in differing if key in settings[i])
            rows[i]["setting"] = setting
            rows[i]["method"] += f" {setting}" if setting else ""
            rows[i]["plain_label"] += f" ({setting})" if setting else ""
            kind = ", ".join(f"{key}={settings[i][key]}" for key in differing if key in settings[i] and not _size(key))
            rows[i]["variant"] += f" ({kind})" if kind else ""


def _size(key: str) -> bool:
    """Whether a setting is a size of the method, of the run that it starts from, or the recipe that a size needs."""
    return key.split(".")[0] in ("source", "recipe") or key.rsplit(".", 1)[-1] in _SIZES


def _label(part: Mapping[str, Any]) -> str:
    return _about(part, "label") or str(part["name"])


def _about(part: Mapping[str, Any], key: str) -> str:
    return str((part.get("about") or {}).get(key, ""))


def _own(run: Planned) -> dict[str, Any]:
    """What a run does not share with the other seeds of its cell."""
    return {"id": run.id, "seed": int(run.spec["seed"]), "source": run.source or ""}


def _cell_of(spec: Mapping[str, Any], cells: dict[tuple[int, ...], dict[str, Any]]) -> dict[str, Any]:
    key = tuple(id(part) for name, part in spec.items() if name != "seed")
    if key not in cells:
        cells[key] = _planned(spec)
    return cells[key]


def _planned(spec: Mapping[str, Any]) -> dict[str, Any]:
    method, model, data = spec["method"], spec["model"], spec["dataset"]
    return {
        "id": "",
        "method": method["name"],
        "method_name": method["name"],
        "plain_label": _label(method),
        "same_function_as": _about(method, "same_function_as"),
        "formula": _about(method, "formula"),
        "paper": _about(method, "source"),
        "variant": _label(method),
        "model": model["name"],
        "model_label": _label(model),
        "model_size": model.get("size", "full"),
        "dataset": data["name"],
        "dataset_label": _label(data),
        "task": (data.get("task") or {}).get("kind", ""),
        "recipe": str(spec["recipe"].get("name", "")),
        "seed": -1,
        "metric": data["metric"],
        "direction": data["direction"],
        "chance": data.get("constant_guess", data.get("chance")),
        "formula_params": _parameters(method, model),
        "setting": "",
        "skip": "",
        "learns_ranks": learns_ranks(spec),
        "targets": ",".join(method.get("targets", ())),
    } | procedure(spec)


def _skipped(choices: Mapping[str, Any], why: str, known: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """A skipped cell has no spec: labels are borrowed from planned runs of the same model, dataset and method."""
    models, datasets, methods = known
    model, dataset, method = (str(choices.get(axis, "")) for axis in ("model", "dataset", "method"))
    texts = ("recipe", "task", "setting", "source", "procedure", "same_function_as", "formula", "paper")
    row: dict[str, Any] = dict.fromkeys(texts, "")
    row |= dict.fromkeys(("chance", "formula_params", "start_rank", "end_rank", "own_steps", "source_steps"))
    row |= {key: models.get(model, {}).get(key, model) for key in ("model", "model_label")}
    row |= {key: datasets.get(dataset, {}).get(key, dataset) for key in ("dataset", "dataset_label")}
    row |= {
        key: datasets.get(dataset, {}).get(key, "max" if key == "direction" else "score")
        for key in ("metric", "direction")
    }
    row |= {
        key: methods.get(method, {}).get(key, method) for key in ("method", "method_name", "plain_label", "variant")
    }
    return row | {"id": "", "model_size": "full", "seed": -1, "skip": why, "learns_ranks": False, "targets": ""}


def _unique_labels(frame: pd.DataFrame, label: str, name: str) -> pd.Series:
    """Labels that tell methods, models or datasets apart: two with one label get their names beside it."""
    labels = frame[label]
    pairs = set(zip(labels, frame[name], strict=True))
    twice = {text for text, n in Counter(text for text, _ in pairs).items() if n > 1}
    return labels.where(~labels.isin(twice), labels + " (" + frame[name] + ")")


def _parameters(method: Mapping[str, Any], model: Mapping[str, Any]) -> float | None:
    """Adapter parameters by the formula (study, 1.2): r(in + out), r·out or r·in a target; None where the card does
    not say widths, and for size=tiny, whose widths are not the card's.
    """
    if model.get("size") == "tiny":
        return None
    update, config = method["update"], model.get("config") or {}
    config = config.get("text_config") or config  # of a model that reads images too
    hidden = config.get("hidden_size") or config.get("n_embd")
    layers = config.get("num_hidden_layers") or config.get("n_layer")
    rank = update.get("rank")
    one_rank = method["schedule"].get("kind") in ("constant", "chain") and not method.get("ranks")
    if not (hidden and layers and rank and one_rank):
        return None
    heads = config.get("num_attention_heads") or config.get("n_head") or 1
    head_width = config.get("head_dim") or hidden // heads
    query, key_value = heads * head_width, (config.get("num_key_value_heads") or heads) * head_width
    inner = config.get("intermediate_size") or config.get("n_inner") or 4 * hidden
    widths = {
        "q": (hidden, query),
        "k": (hidden, key_value),
        "v": (hidden, key_value),
        "o": (query, hidden),
        "gate": (hidden, inner),
        "up": (hidden, inner),
        "down": (inner, hidden),
    }
    if any(target not in widths for target in method["targets"]):
        return None
    trained = _trained_sides(update)
    return (
        None
        if trained is None
        else float(
            layers * rank * sum(a * i + b * o for t in method["targets"] for i, o in [widths[t]] for a, b in [trained])
        )
    )


def _trained_sides(update: Mapping[str, Any]) -> tuple[int, int] | None:
    """(is A trained, is B trained), or None for an update whose count this formula does not describe."""
    if update["kind"] == "low_rank":
        return int(update["train_a"]), int(update["train_b"])
    return {"columns": (0, 1), "orthogonal": (1, 1)}.get(update["kind"])
