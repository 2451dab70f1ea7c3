"""What check-method hands from one step to the next: contract and probe into the store, all into one JSON document."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.__main__ import main
from harness.cli import check_method
from harness.config.groups import look_again
from harness.ledger.method_check import Promise, read_check

PROBED = {"setting": {"model": "minilm"}}
KEPT = (Promise("merge", "works", ""), Promise("start unchanged", "noted", "it moves."))


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Contract, probe and sweep are answers; the words of each sweep that is asked for."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PEFTLAB_CONF", raising=False)
    sweeps = []

    def call(verb, words):
        sweeps.append((verb, *words))
        print(json.dumps({"answers": []}) + "\nfailed 0123 of a run" if "--json" in words else "a table")
        return 1

    monkeypatch.setattr(check_method, "_contract", lambda spec: KEPT)
    monkeypatch.setattr(check_method, "measure", lambda words: SimpleNamespace())
    monkeypatch.setattr(check_method, "print_probe", lambda probe: print("a probe"))
    monkeypatch.setattr(check_method, "probe_to_json", lambda probe: PROBED)
    monkeypatch.setattr(check_method, "call", call)
    yield sweeps
    look_again()


def test_json_has_the_contract_the_probe_and_the_answer_and_nothing_else_is_printed(asked, capsys):
    assert main(["check-method", "cla", "--json"]) == 1  # a run failed
    answer = json.loads(capsys.readouterr().out)
    contract = [vars(row) for row in KEPT]
    assert answer == {
        "method": "cla", "code": None, "contract": contract, "probe": PROBED, "report": {"answers": []},
    }  # fmt: skip
    assert asked == [("sweep", "sweep=check_cla", "--json")]


def test_what_was_found_lies_in_the_store_that_was_named_before_the_sweep_begins(asked, capsys):
    assert main(["check-method", "cla", "runs=elsewhere"]) == 1
    check = read_check(Path("elsewhere").resolve(), "check_cla")
    assert check is not None and (check.method, check.contract, check.probe) == ("cla", KEPT, PROBED)
    assert asked == [("sweep", "sweep=check_cla", "runs=elsewhere")]
    assert "its own by design" in (said := capsys.readouterr().out) and said.index("a probe") < said.index("a table")


def test_the_contract_alone_measures_nothing_and_writes_no_sweep(asked, capsys):
    assert main(["check-method", "cla", "--contract", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"method", "code", "contract"}
    assert asked == [] and not any(Path().iterdir())
