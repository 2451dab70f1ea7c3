"""One record as one flat row, and its validation points. Reads the JSON itself: 100,000 records must load in seconds.

Earlier versions are migrated. Refuses a quantity in another unit than its column declares.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from analysis.columns import COLUMNS, same_unit
from harness.ledger.errors import RecordError
from harness.ledger.migrate import migrated
from harness.ledger.state import record_in

_PATHS = tuple((c.name, c.unit, tuple(c.source.split("."))) for c in COLUMNS)
_LENGTH = ("epochs", "max_steps")
_NO_KNOBS = (
    "name",
    "about",
    "lr",
    "head_lr",
)  # names are no settings; rates are the method's own, see analysis.matched


def read_flat(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """(row, curve points) of a record file; a file that is no record gives a row with status "damaged" and
    the reason.
    """
    try:
        record_in(path.parent)  # the one judge of what is a record, for sweeps, status and reports alike
        raw = migrated(orjson.loads(path.read_bytes()))
        return flatten(raw), curve(raw)
    except RecordError as error:
        return _damaged(path, str(error)), []
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        return _damaged(path, f"{path.name} cannot be read ({error}); delete it to run again"), []


def _damaged(path: Path, why: str) -> dict[str, Any]:
    return {"id": path.parent.name, "status": "damaged", "reason": f"damaged: {why}", "absent": "{}"}


def flatten(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A record's JSON (of this version) as a row of plain values: every column of COLUMNS that was measured, and
    `absent`, a JSON text of the reasons.
    """
    row: dict[str, Any] = {"id": raw["id"], "status": raw["status"], "reason": _reason(raw)}
    metric = raw["spec"]["dataset"]["metric"]
    absent: dict[str, str] = {}
    for name, unit, (section, *rest) in _PATHS:
        quantity = _find(raw.get(section, {}), rest, metric)
        if "value" not in quantity:
            absent[name] = quantity["why"]
            continue
        if not same_unit(unit, quantity["unit"]):
            raise RecordError(
                f"record {raw['id']}: {name} is in {quantity['unit']!r}, declared in {unit!r}; mend the "
                "writer of the record."
            )
        row[name] = float(quantity["value"])
        if name == "score":
            row |= {"score_unit": quantity["unit"], "score_n": int(quantity["n"])}
    return row | {"absent": _dumps(absent)} | _texts(raw)


def curve(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The validation points: step, epoch, train_seconds, train_loss, lr, val_score, val_loss."""
    metric = raw["spec"]["dataset"]["metric"]
    return [
        {key: point[key] for key in ("step", "epoch", "train_seconds", "train_loss", "lr")}
        | {"id": raw["id"], "val_score": point["val"].get(metric), "val_loss": point["val"].get("loss")}
        for point in raw["curve"]
    ]


def _find(section: Mapping[str, Any], rest: list[str], metric: str) -> Mapping[str, Any]:
    quantity: Any = section
    for word in rest:
        key = metric if word == "{metric}" else word
        if key not in quantity:
            return {"why": f"not in the record ({key})"}
        quantity = quantity[key]
    return quantity


def _reason(raw: Mapping[str, Any]) -> str:
    failure = raw["failure"]
    if failure is None:
        return ""
    return f"failed: {failure['kind']} in {failure['phase']} at step {failure['step']}: {failure['message']}"


def _texts(raw: Mapping[str, Any]) -> dict[str, Any]:
    source = raw["provenance"]
    git = source.get("git") or {}
    commit = (git.get("commit") or "") if isinstance(git, Mapping) else str(git)
    dirty = bool(git.get("dirty")) if isinstance(git, Mapping) else False
    return {
        "failure_kind": (raw["failure"] or {}).get("kind", ""),
        "fingerprint": _text(source.get("fingerprint")),
        "commit": f"{str(commit)[:12]}{' (modified)' if dirty else ''}",
        "host": _text(source.get("host")),
        "device": _device(source.get("device")),
        "packages": _text(source.get("packages")),
        "split": _digest(raw["data"]),
        "attempts": int(raw["attempts"]),
    } | settings(raw["spec"])


def settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What must be alike within one comparison (`knobs`, a JSON text), and a method's own rates and their group.

    Of a run that starts from a run: the steps of both together, and the source's warm-up. Of a search for ranks within
    a run no length: its steps have more passes than others', so equal steps or epochs are no equal compute.
    """
    recipe = dict(spec["recipe"])
    if (source := spec.get("source")) and recipe.get("max_steps") is not None:
        before = source["recipe"]
        recipe["max_steps"] += before.get("max_steps") or 0
        recipe["warmup_steps"] = before.get("warmup_steps")
    own = _LENGTH if (spec["method"].get("schedule") or {}).get("kind") == "select" else ()
    knobs = {f"recipe.{key}": value for key, value in recipe.items() if key not in (*_NO_KNOBS, *own)}
    knobs["model.dtype"] = spec["model"].get("dtype")
    return {
        "knobs": _dumps(knobs),
        "lr": recipe.get("lr"),
        "head_lr": recipe.get("head_lr"),
        "rates": spec["method"]["rates"]["group"],
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _dumps(value)


def _device(value: Any) -> str:
    """The device's own name: `NVIDIA H200`, or the CPU's model."""
    return str(value.get("name") or value.get("type")) if isinstance(value, Mapping) else _text(value)


def _digest(data: Mapping[str, Any]) -> str:
    """Runs with equal data facts saw equal splits. A random model's revision names the run's seed, and is no data;
    which rows are in two splits follows from the splits."""
    random = str(data.get("model_revision", "")).startswith("random:")
    left_out = {"shared_rows"} | ({"model_revision"} if random else set())
    kept = {key: fact for key, fact in data.items() if key not in left_out}
    return hashlib.sha256(_dumps(kept).encode()).hexdigest()[:12]


def _dumps(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
