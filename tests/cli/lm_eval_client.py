"""lm-evaluation-harness with `python -I`, on the merged model and the questions in argv[1]; prints its accuracy."""

import json
import sys
from pathlib import Path

from lm_eval import simple_evaluate
from lm_eval.api.task import ConfigurableTask
from lm_eval.models.huggingface import HFLM

place = Path(sys.argv[1])
task = ConfigurableTask(
    config={
        "task": "merged",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(place / "asked.jsonl")}, "cache_dir": str(place / "cache")},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": [text.strip() for text in json.loads((place / "task.json").read_text())],
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc"}],
    }
)
model = HFLM(pretrained=str(place / "merged"), device="cpu", batch_size=8, dtype="float32")
found = simple_evaluate(model=model, tasks=[task], bootstrap_iters=0)
assert not {"harness", "methods"} & set(sys.modules)
print("\n" + json.dumps(found["results"]["merged"]["acc,none"]))
