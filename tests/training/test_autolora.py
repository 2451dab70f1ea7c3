"""AutoLoRA: the hypergradient against finite differences, and both phases through the real loop."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import harness.training.loop as loop_module
from analysis.checks.run import check_run
from harness.config.resolve import Resolver
from harness.config.settings import settings_from
from harness.ledger.errors import PlanError
from harness.ledger.store import Store
from harness.planning.plan import plan_one, read_request
from harness.training.context import Stopped
from harness.training.procedures import bilevel, hypergradient
from harness.training.procedures.hypergradient import bilevel_backward
from harness.training.run import run_one
from tests.fruit import write_fruit

WORDS = ("method=autolora", "model=minilm", "model.size=tiny", "recipe=quick_text", "recipe.epochs=9",
         "recipe.max_steps=12", "recipe.evaluations=4", "recipe.batch_size=8", "method.rates.gate=0.05",
         "tracker=none", "device=cpu", "keep=all")  # fmt: skip

# The hypergradient


class Toy:
    """A two-level problem in float64 that is quadratic in nothing: tanh of a product of selected components."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)

        def drawn(*shape):
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        self.a, self.b, self.w = (nn.Parameter(0.5 * drawn(*s)) for s in ((3, 5), (4, 3), (3,)))
        self.data = {name: (drawn(7, 5), drawn(7, 4)) for name in ("inner", "outer")}
        self.rates = [0.05, 0.02]

    def loss(self, name, a=None, b=None):
        x, y = self.data[name]
        product = (self.b if b is None else b) * self.w.softmax(0) @ (self.a if a is None else a)
        return (torch.tanh(x @ product.T) - y).square().mean()

    def backward(self, name):
        loss = self.loss(name)
        loss.backward()
        return loss.detach()

    def unrolled(self):
        """The outer loss after one step of gradient descent of the inner parameters."""
        slopes = torch.autograd.grad(self.loss("inner"), [self.a, self.b])
        moved = [p - rate * g for p, rate, g in zip((self.a, self.b), self.rates, slopes, strict=True)]
        return self.loss("outer", *moved).item()


@pytest.mark.parametrize(("radius", "tolerance"), [(hypergradient.RADIUS, 1e-4), (1e-4, 1e-8)])
def test_the_hypergradient_equals_finite_differences_of_the_unrolled_loss(monkeypatch, radius, tolerance):
    """The error of its own difference falls with the square of the radius."""
    monkeypatch.setattr(hypergradient, "RADIUS", radius)
    toy, step = Toy(), 1e-5
    before = [p.detach().clone() for p in (toy.a, toy.b, toy.w)]
    plain = torch.autograd.grad(toy.loss("inner"), [toy.a, toy.b])
    first_order = torch.autograd.grad(toy.loss("outer"), toy.w)[0]
    bilevel_backward([toy.a, toy.b], toy.rates, [toy.w], lambda: toy.backward("inner"), lambda: toy.backward("outer"))
    assert all(torch.equal(p, old) for p, old in zip((toy.a, toy.b, toy.w), before, strict=True))
    assert torch.equal(toy.a.grad, plain[0]) and torch.equal(toy.b.grad, plain[1])
    expected = torch.empty(3, dtype=torch.float64)
    for index in range(3):
        with torch.no_grad():
            toy.w[index] += step
        above = toy.unrolled()
        with torch.no_grad():
            toy.w[index] -= 2 * step
        expected[index] = (above - toy.unrolled()) / (2 * step)
        with torch.no_grad():
            toy.w[index] = before[2][index]
    wrong = (toy.w.grad - expected).norm() / expected.norm()
    assert wrong < tolerance < 1e-3 < (first_order - expected).norm() / expected.norm(), "the second term counts"


def test_a_hypergradient_without_a_direction_is_the_first_term():
    """Rates of zero: the inner step goes nowhere, and the difference must not become 0 / 0."""
    toy = Toy()
    expected = torch.autograd.grad(toy.loss("outer"), toy.w)[0]
    bilevel_backward([toy.a, toy.b], [0.0, 0.0], [toy.w], lambda: toy.backward("inner"), lambda: toy.backward("outer"))
    assert torch.equal(toy.w.grad, expected)


# The run


@pytest.fixture(scope="module")
def orchard(tmp_path_factory, peftlab_cache):
    """Plans a run on fruit, whose rows lie in one place whatever the store; `wrong`: splits that are all lemon."""
    place = tmp_path_factory.mktemp("orchard")

    def plan(*words, wrong=(), runs):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PEFTLAB_CONF", str(write_fruit(place, wrong)))
            request = read_request([*WORDS, "dataset=fruit", f"runs={runs}", f"cache={peftlab_cache}", *words])
            settings = settings_from(request.config)
            return plan_one(request, Resolver()), Store(settings.runs), settings

    return plan


@pytest.fixture
def planned(tmp_path, orchard):
    return lambda *words, wrong=(), store="runs": orchard(*words, wrong=wrong, runs=tmp_path / store)


@pytest.fixture(scope="module")
def straight(tmp_path_factory, orchard):
    """A run that nothing disturbs; who changes its store works on a copy."""
    plan, store, settings = orchard(runs=tmp_path_factory.mktemp("straight") / "runs")
    record = run_one(plan, store, settings)
    assert record.failure is None, record.failure
    return plan, store, record


def ranks(record):
    selected, last = record.links
    assert selected["event"] == "selected" and last["event"] == "ranks"
    assert {path: site["rank"] for path, site in last["sites"].items()} == selected["ranks"]
    return selected["ranks"]


def test_the_record_holds_the_learned_rank_of_every_site_and_both_phases(straight):
    plan, store, record = straight
    learned, shares = ranks(record), record.links[0]["shares"]
    assert record.links[0]["step"] == 6 and record.work["steps"].value == 12
    assert learned == {path: sum(s >= 1 / 8 for s in share) for path, share in shares.items()}
    assert min(learned.values()) < 8 and all(1 <= rank <= 8 for rank in learned.values()), "something was learned"
    assert record.selected["step"] >= 6, "what was best in the search is no candidate"
    tensors = load_file(store.paths(plan.id).adapter / "state.safetensors")
    factors = {name: t for name, t in tensors.items() if name.startswith("adapter.")}
    assert not any(name.endswith(".selection") for name in factors)
    assert {
        name.split(".", 1)[1].rsplit(".", 1)[0]: t.shape[0] for name, t in factors.items() if name[-2:] == ".a"
    } == learned
    assert record.parameters["adapter"].value == sum(t.numel() for t in factors.values())
    events = [json.loads(line) for line in store.paths(plan.id).events.read_text().splitlines()]
    assert [e["ranks"] for e in events if e["event"] == "selected"] == [learned]
    assert [str(f) for f in check_run(store.root / plan.id)] == []


def test_labels_of_test_and_validation_rows_change_no_rank(straight, planned):
    _, _, record = straight
    for number, wrong in enumerate((("test",), ("validation",))):
        plan, store, settings = planned(wrong=wrong, store=f"poisoned-{number}")
        other = run_one(plan, store, settings)
        assert other.links == record.links, wrong
        assert [p.train_loss for p in other.curve] == [p.train_loss for p in record.curve]
        if wrong == ("test",):
            assert other.curve[-1].val == record.curve[-1].val and other.selected == record.selected
            assert other.scores["test"] != record.scores["test"], "they were changed"


@pytest.mark.parametrize("at", [3, 8])
def test_a_run_stopped_in_either_phase_goes_on_bit_for_bit(straight, planned, monkeypatch, at):
    plan, straight_store, record = straight
    _, store, settings = planned(store="stopped")
    done, step = [], loop_module._step
    monkeypatch.setattr(loop_module, "_step", lambda *given: (done.append(0), step(*given))[1])
    with pytest.raises(Stopped):
        run_one(plan, store, settings, stop=lambda: len(done) >= at)
    resumed = run_one(plan, store, settings)
    assert len(done) == 12 and resumed.attempts == 2 and resumed.links == record.links
    assert resumed.scores == record.scores
    ours, theirs = (load_file(s.paths(plan.id).adapter / "state.safetensors") for s in (straight_store, store))
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_levels_share_no_row_and_together_are_the_training_rows(planned, monkeypatch):
    seen, inner, outer = [], [], []
    backward = bilevel.backward

    def noted(context, window):
        seen.append([i for batch in window for i in batch.ids])
        return backward(context, window)

    monkeypatch.setattr(bilevel, "backward", noted)
    plan, store, settings = planned("recipe.max_steps=24", "method.schedule.held_out=0.25")
    assert run_one(plan, store, settings).status == "done"
    assert len(seen) == 12 * 4 + 12
    for step in range(12):
        first, held_out, *sides = seen[4 * step : 4 * step + 4]
        assert sides == [first, first]
        inner, outer = inner + first, outer + held_out
    assert len(set(outer)) == 12 and len(set(inner)) == 36 and not set(inner) & set(outer)
    assert {i for window in seen[48:] for i in window} == set(inner) | set(outer)


def test_the_rates_begin_anew_with_the_second_phase(straight):
    _, _, record = straight
    rates = {point.step: point.lr for point in record.curve}
    assert rates[3] == rates[9] > rates[6] == rates[12]


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("recipe.early_stop=2", "recipe.early_stop must be null"),
        ("recipe.max_steps=1", "a search and a training at its ranks need a step each"),
    ],
)
def test_what_leaves_no_room_for_two_phases_is_refused_when_planning(planned, word, sentence):
    with pytest.raises(PlanError, match=sentence):
        planned(word)


def test_too_few_rows_for_two_levels_are_a_sentence_in_the_record(planned):
    plan, store, settings = planned("method.schedule.held_out=0.001")
    record = run_one(plan, store, settings)
    assert record.failure.message.startswith("48 training rows leave none for one level at schedule.held_out=0.001")


def test_the_audit_refutes_a_record_whose_search_was_another(straight, tmp_path):
    """What it recomputes of the two phases is not what one phase would be."""
    plan, store, _ = straight
    path = shutil.copytree(store.root, tmp_path / "runs") / plan.id / "record.json"
    raw = json.loads(path.read_text())
    raw["work"]["examples_seen"]["value"] += 2
    raw["curve"][2]["lr"] /= 2
    path.write_text(json.dumps(raw))
    whats = " ".join(finding.what for finding in check_run(path.parent))
    assert "96 examples seen" in whats and "at step 9, by the recipe" in whats
