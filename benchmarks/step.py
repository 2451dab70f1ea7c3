"""The probe's table of all eleven methods, `peft` LoRA and DoRA and the frozen floor; its goals; JSON and a picture.

python benchmarks/step.py          RoBERTa-base shape, 4 layers, batch 16 × 128, r = 16, all linear layers: for a CPU
python benchmarks/step.py --gpu    real sizes in bfloat16 on a CUDA device
Results go to benchmarks/results/<device>/ with their environment. A goal that is missed is printed, and is no error:
another machine, or a busy one, may miss it.
"""

import argparse
import json
import re
import sys
from pathlib import Path

from plot import draw

from harness.cli.probe import print_probe
from harness.ledger.paths import to_json, write_whole
from harness.probe.request import read_request
from harness.probe.result import Probe, Ratio, probe_to_json
from harness.probe.run import probe

ELEVEN = "full,lora,lora_plus,asym,cola,rac,cla,r_cla,c3la,r_c3la,paca"
RESULTS = Path(__file__).resolve().parent / "results"
CPU = {
    "roberta_base-4-layers": "model=roberta_base layers=4 batch=16 length=128 steps=24 rounds=12 warmup=1 device=cpu",
}
GPU = {
    "roberta_base": "model=roberta_base batch=32 length=128 device=cuda precision=bfloat16",
    "vit_base": "model=vit_base batch=64 device=cuda precision=bfloat16",
    "tinyllama": "model=tinyllama batch=4 length=512 device=cuda precision=bfloat16",
    "llama3_8b": "model=llama3_8b batch=1 length=512 steps=50 warmup=10 device=cuda precision=bfloat16",
}
GOALS = (  # method, quantity, reference, at most
    ("cla", "step time", "peft_lora", 0.90),
    ("cla", "step time", "floor", 1.06),
    ("lora", "step time", "peft_lora", 1.00),
    ("cla", "saved_for_backward", "peft_lora", 0.65),
    ("cla", "saved_for_backward", "floor", 1.01),
)

BUSY = "; judged by CPU time, as the machine was busy with other work"


def main() -> None:
    """Probe, print, and keep what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gpu", action="store_true", help="real sizes in bfloat16 on a CUDA device")
    parser.add_argument("--only", help="one of the settings by name")
    chosen = parser.parse_args()
    for name, words in (GPU if chosen.gpu else CPU).items():
        if chosen.only in (None, name):
            result = probe(read_request([f"method={ELEVEN}", "targets=all", *words.split()]), _say)
            print_probe(result)
            print("\n".join(verdicts(result)))
            print(f"kept in {keep(result, name)}")


def verdicts(result: Probe) -> list[str]:
    """One line per goal: what was found, with its interval where it is a time."""
    return [_verdict(result, *goal) for goal in GOALS]


def _verdict(result: Probe, method: str, quantity: str, reference: str, most: float) -> str:
    goal, row, other = f"{method} {quantity} ≤ {most:.2f} × {reference}", result.row(method), result.row(reference)
    if row is None or other is None:
        return f"?      {goal}: not measured"
    if quantity != "step time":
        value, spread = result.exact_ratio(row, reference, quantity), "(exact)"
    else:
        wall, cpu = result.time_ratio(row, reference), result.time_ratio(row, reference, cpu=True)
        busy = cpu is not None and (row.noisy or other.noisy) and result.setting["device"] == "cpu"
        value = None if wall is None or cpu is None else (cpu if busy else wall).value
        spread = f"wall time {_interval(wall)}, CPU time {_interval(cpu)}" + (BUSY if busy else "")
    if value is None:
        return f"?      {goal}: not measured"
    return f"{'met   ' if value <= most else 'MISSED'} {goal}: {value:.4f}; {spread}"


def _interval(ratio: Ratio | None) -> str:
    return "–" if ratio is None else f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]"


def keep(result: Probe, name: str) -> Path:
    """JSON and picture, in the folder of the device; the host's name stays out."""
    folder = RESULTS / slug(result.provenance["device"]["name"])
    folder.mkdir(parents=True, exist_ok=True)
    plain = probe_to_json(result)
    plain["provenance"].pop("host")
    plain["goals"] = verdicts(result)
    path = folder / f"step-{name}.json"
    write_whole(path, to_json(plain))
    draw(json.loads(path.read_bytes()), path.with_suffix(".png"))
    return path


def slug(device: str) -> str:
    """A device's name as a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower().replace("(r)", "")).strip("-")


def _say(line: str) -> None:
    print(f"\r\033[K{line}" if sys.stderr.isatty() else line, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)


if __name__ == "__main__":
    main()
