"""What is of a machine and its people, taken out of what is shared: paths, host and user names, secrets.

What a check recomputes stays as it is: settings that enter the id, and the environment that enters the fingerprint.
"""

import getpass
import os
import platform
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from harness.ledger.dataset_spec import LEFT_OUT
from harness.ledger.fingerprint import ENVIRONMENT

Scrub = Callable[[str], str]
_PROVENANCE = (*ENVIRONMENT, "git", "fingerprint", "started", "finished", "images", "quantization")
_OF_A_MACHINE = ("traceback", "host", "hostname", "user", "pid", "path", "cwd", "argv")  # keys of events and notes
_SECRET_NAMES = re.compile("TOKEN|KEY|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
_OF_NOBODY = ("", "root", "user", "admin", "localhost", "vm")  # and too common a word to be taken out of sentences
_RULES = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"-----BEGIN [A-Z ]*PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", "[secret]"),
        (r"\b(?:hf|gh[pousr]|glpat|github_pat|sk|xox[abprs])[_-][\w-]{16,}", "[secret]"),
        (r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b|\beyJ[\w-]{8,}\.[\w-]+\.[\w-]*", "[secret]"),
        (r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{8,}", r"\1 [secret]"),
        (r"(?i)\b([\w-]*(?:token|api_?key|secret|password|passwd))(\s*[=:]\s*)[^\s,;'\"]{4,}", r"\1\2[secret]"),
        (r"(?<=://)[^\s/@]+@", "[secret]@"),
        (r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "[address]"),
        (r"file://\S+", "[path]"),
        (r"(['\"])(?:~|/|[A-Za-z]:[\\/]|\\\\)[^'\"\n]+\1", r"\1[path]\1"),
        (r"(?<![\w:/.])~[\w.-]*/[\w.+@$/=-]*", "[path]"),
        (r"(?<![\w:/.\\])(?:[A-Za-z]:)?[/\\]{1,2}[\w.+@$-]+(?:[/\\][\w.+@$=-]+)+[/\\]?", "[path]"),
    )
)


def scrub_secrets(text: str) -> str:
    """Masks secrets (values of the environment's variables that are called so, and texts of the usual forms),
    addresses and absolute paths."""
    return _masked(text, _secrets())


def _masked(text: str, secrets: Iterable[str]) -> str:
    for value in secrets:
        text = text.replace(value, "[secret]")
    for pattern, mask in _RULES:
        text = pattern.sub(mask, text)
    return text


def scrub_for(hosts: Iterable[str] = ()) -> Scrub:
    """`scrub_secrets`, and names beside: this machine's and these host names, and the user's. A name within a longer
    word stays. The environment is read once."""
    secrets = _secrets()
    machines = {platform.node(), *hosts}
    machines |= {host.split(".")[0] for host in machines}
    named = {"[host]": machines.difference(_OF_NOBODY), "[user]": _users().difference(_OF_NOBODY)}
    words = [(re.compile(rf"(?<!\w)(?:{_any(texts)})(?!\w)"), mask) for mask, texts in named.items() if texts]

    def scrub(text: str) -> str:
        text = _masked(text, secrets)
        for pattern, mask in words:
            text = pattern.sub(mask, text)
        return text

    return scrub


def clean(tree: Any, scrub: Scrub) -> Any:
    """The same JSON data with every text scrubbed, and without what only a machine's owner can use."""
    if isinstance(tree, str):
        return scrub(tree)
    if isinstance(tree, list | tuple):
        return [clean(item, scrub) for item in tree]
    if isinstance(tree, Mapping):
        kept = {key: item for key, item in tree.items() if not (key in _OF_A_MACHINE and isinstance(item, str | int))}
        return {scrub(key): clean(item, scrub) for key, item in kept.items()}
    return tree


def clean_record(raw: Mapping[str, Any], scrub: Scrub) -> dict[str, Any]:
    """A record's JSON, of any version."""
    kept = clean({key: part for key, part in raw.items() if key not in ("spec", "provenance")}, scrub)
    if kept.get("failure"):
        kept["failure"] |= {"traceback": ""}
    return kept | {"spec": clean_spec(raw["spec"], scrub), "provenance": clean_provenance(raw["provenance"], scrub)}


def clean_provenance(facts: Mapping[str, Any], scrub: Scrub) -> dict[str, Any]:
    """Code, time and environment; no host, and nothing that a newer version may add."""
    known = {key: fact for key, fact in facts.items() if key in _PROVENANCE}
    return {key: fact if key in ENVIRONMENT else clean(fact, scrub) for key, fact in known.items()}


def clean_spec(spec: Mapping[str, Any], scrub: Scrub) -> dict[str, Any]:
    """Settings as they are, words for people scrubbed, and no place of local data (`harness.ledger.dataset_spec`)."""
    parts = {key: _without_about(part, scrub) for key, part in spec.items()}
    source = parts["dataset"].get("source", {})
    if source.get("kind") == "folder":
        parts["dataset"] = parts["dataset"] | {"source": source | {"path": LEFT_OUT}}
    if spec.get("source"):
        parts["source"] = clean_spec(spec["source"], scrub)
    return parts


def _without_about(part: Any, scrub: Scrub) -> Any:
    if not isinstance(part, Mapping) or "about" not in part:
        return part
    return {**part, "about": clean(part["about"], scrub)}


def exposed(spec: Mapping[str, Any], where: str = "") -> Iterator[str]:
    """Dotted keys of settings that hold what `scrub_secrets` would mask: they enter the id, and cannot be masked."""
    for key, part in spec.items():
        if isinstance(part, Mapping) and key != "about":
            yield from exposed(part, f"{where}{key}.")
        elif isinstance(part, str | list | tuple) and clean(part, scrub_secrets) != clean(part, str):
            yield f"{where}{key}"


def _secrets() -> list[str]:
    found = {value for name, value in os.environ.items() if _SECRET_NAMES.search(name) and len(value) >= 8}
    return sorted(found, key=len, reverse=True)


def _users() -> set[str]:
    with suppress(OSError, KeyError):  # no user of that number here
        return {getpass.getuser(), Path.home().name}
    return {Path.home().name}


def _any(texts: Iterable[str]) -> str:
    return "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
