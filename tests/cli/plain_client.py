"""What a stranger runs, with `python -I`: the lines of each folder's README.md in that folder, then their `ask`.

argv[1]: a JSON file of [[folder, questions], …]. Prints, for each, the answers. Nothing of this project is loaded.
"""

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any


def main() -> None:
    warnings.simplefilter("error", RuntimeWarning)  # what peft says of keys that it does not find
    answers = []
    for folder, questions in json.loads(Path(sys.argv[1]).read_text()):
        os.chdir(folder)
        names: dict[str, Any] = {}
        exec(Path("README.md").read_text().split("```python\n")[1].split("\n```")[0], names)
        answers.append([_answer(names, question) for question in questions])
    assert not {"harness", "methods", "slurm", "analysis"} & set(sys.modules)
    print("\n" + json.dumps(answers))


def _answer(names: dict[str, Any], question: Any) -> Any:
    if str(question).endswith(".png"):
        return names["ask"](names["Image"].open(question))
    options = {"return_full_text": False} if names["ask"].task == "text-generation" else {}
    return names["ask"](question, **options)


main()
