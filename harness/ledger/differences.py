"""What tells two specs apart."""

from collections.abc import Mapping
from typing import Any


def differences(left: Mapping[str, Any], right: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ; what is for people (`about`) is left out."""
    first, second = _flat(left), _flat(right)
    return {k: (first.get(k), second.get(k)) for k in sorted(first | second) if first.get(k) != second.get(k)}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if key == "about":
            continue
        path = f"{prefix}{key}"
        flat |= _flat(value, path + ".") if isinstance(value, Mapping) else {path: _listed(value)}
    return flat


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
