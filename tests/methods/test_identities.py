"""Identities I1 to I11 of the study (reference: study, §1.6), each a test named after it."""

import math

import pytest
import torch

from methods.update.low_rank import LowRankUpdate

CHAINS = ("cola", "rac", "c3la", "r_c3la", "cpaca", "dcpaca", "rac_b")
PLAIN = ("lora", "asym", "asym_b", "cla", "r_cla", "paca", "dpaca")


def moved(lab, tiny, method, start):
    """Site path -> ΔW (out, in) of everything so far, after a merge into plain weights."""
    method.merge()
    return {site.path: site.weight - start[site.path] for site in method.sites}


@pytest.mark.parametrize("alpha", [8.0, 5.0])
@pytest.mark.parametrize("name", ["lora", "asym_b", "cla", "r_c3la", "paca", "ba_sparse_lora"])
def test_i01_at_init_the_output_is_the_base_models(lab, name, alpha):
    tiny = lab.tiny()
    before = tiny.logits()
    lab.train(tiny, lab.attach(tiny, lab.spec(name, alpha=alpha)), 1, total=10, lr=0.0)  # columns are written once
    exact = alpha == 8.0 or name != "paca"  # s·(W/s) is W when s is a power of two
    assert torch.allclose(tiny.logits(), before, rtol=0, atol=0 if exact else 1e-6 * before.abs().max().item())


@pytest.mark.parametrize("name", CHAINS)
def test_i02_every_chain_step_preserves_the_function(lab, name):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name, links=3))
    seen = {}
    end_link = method.schedule._next_link

    def watched(step):
        before = tiny.logits().detach()
        change = end_link(step)
        seen[step] = (tiny.logits() - before).abs().max() / before.abs().max()
        return change

    method.schedule._next_link = watched
    lab.train(tiny, method, 9)
    assert sorted(seen) == [3, 6]
    assert max(seen.values()) < 1e-5


def test_i03_cla_is_asym_with_a_selector_for_a(lab):
    one, two = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    cla, asym = lab.attach(one, lab.spec("cla")), lab.attach(two, lab.spec("asym"))
    for update in asym.updates.values():
        update.a.copy_(torch.eye(4, 32))
    lab.train(one, cla, 6)
    lab.train(two, asym, 6)
    for path, update in cla.updates.items():
        assert (update.b - asym.updates[path].b).abs().max() < 1e-12
    assert (one.logits() - two.logits()).abs().max() < 1e-12


def same_path(lab, paca_name, cla_name, alpha=6.0, **changes):
    """PaCA's P and cLA's B after the same training, in float64, without decay."""
    one, two = lab.tiny(dtype=torch.float64), lab.tiny(dtype=torch.float64)
    paca, cla = (
        lab.attach(tiny, lab.spec(name, alpha=alpha, **given))
        for tiny, name, given in ((one, paca_name, changes), (two, cla_name, {}))
    )
    first = {path: update.b.detach().clone() for path, update in paca.updates.items()}
    lab.train(one, paca, 8)
    lab.train(two, cla, 8)
    for path, update in paca.updates.items():
        assert torch.equal(update.index, cla.updates[path].index)
        assert (update.b - first[path] - cla.updates[path].b).abs().max() < 1e-12
    assert (one.logits() - two.logits()).abs().max() < 1e-11


def test_i04_paca_on_the_first_columns_follows_cla(lab):
    same_path(lab, "dpaca", "cla")


def test_i06_paca_and_r_cla_agree_when_both_get_the_same_columns(lab):
    same_path(lab, "paca", "r_cla", stream=None)


def test_paca_draws_other_columns_than_r_cla(lab):
    columns = []
    for name in ("paca", "r_cla"):
        method = lab.attach(lab.tiny(), lab.spec(name))
        columns.append([update.index.tolist() for update in method.updates.values()])
    assert columns[0] != columns[1]


@pytest.mark.parametrize("kind, factor, tolerance", [("sgd", 4.0, 1e-12), ("adam", 2.0, 1e-6)])
def test_i05_raw_paca_is_cla_at_another_rate(lab, kind, factor, tolerance):
    """s = 2: raw columns (s = 1) at lr·s² under SGD, at lr·s under Adam, follow cLA at scale s."""
    results = []
    for name, alpha, lr in (("cla", 8.0, 1e-3), ("dpaca", 4.0, 1e-3 * factor)):
        tiny = lab.tiny(dtype=torch.float64)
        method = lab.attach(tiny, lab.spec(name, alpha=alpha))
        groups = [g | {"lr": lr if g["name"] == "adapter" else 0.0} for g in method.groups(1.0, 1.0, 0.0)]
        optimizer = torch.optim.SGD(groups) if kind == "sgd" else torch.optim.Adam(groups, eps=1e-12)
        lab.train(tiny, method, 6, optimizer=optimizer)
        results.append({site.path: site.weight.clone() for site in method.sites})
    for path, weight in results[0].items():
        assert (weight - results[1][path]).abs().max() < tolerance


@pytest.mark.parametrize("chain, parent", [("cola", "lora"), ("rac", "asym"), ("c3la", "cla"), ("cpaca", "paca"),
                                           ("dcpaca", "dpaca"), ("rac_b", "asym_b")])  # fmt: skip
def test_i07_a_chain_of_one_link_is_its_parent(lab, chain, parent):
    one, two = lab.tiny(), lab.tiny()
    lab.train(one, lab.attach(one, lab.spec(chain, links=1)), 5)
    lab.train(two, lab.attach(two, lab.spec(parent)), 5)
    assert torch.equal(one.logits(), two.logits())


def test_i07_r_c3la_of_one_link_is_cla_on_its_first_window(lab):
    one, two = lab.tiny(), lab.tiny()
    shuffled, first = lab.attach(one, lab.spec("r_c3la", links=1)), lab.attach(two, lab.spec("cla"))
    for path, update in shuffled.updates.items():
        assert update.index[0] % 4 == 0 and torch.equal(update.index, update.index[0] + torch.arange(4))
        first.updates[path].reset()
        first.updates[path].load({"b": update.b.detach(), "index": update.index})
    lab.train(one, shuffled, 5)
    lab.train(two, first, 5)
    assert torch.equal(one.logits(), two.logits())


@pytest.mark.parametrize("name", ["c3la", "dcpaca"])
@pytest.mark.parametrize("links, rank", [(1, 4), (3, 4), (8, 4), (9, 4), (4, 12)])
def test_i08_the_update_touches_exactly_the_visited_windows(lab, name, links, rank):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec(name, links=links, rank=rank, alpha=2.0 * rank))
    start = lab.weights(tiny, method)
    lab.train(tiny, method, 2 * links)
    for delta in moved(lab, tiny, method, start).values():
        assert delta.any(dim=0).nonzero().flatten().tolist() == list(range(min(links * rank, 32)))


@pytest.mark.parametrize("rank", [4, 5])
def test_i09_windows_do_not_repeat_until_all_are_used(lab, rank):
    tiny = lab.tiny()
    windows = math.ceil(32 / rank)
    method = lab.attach(tiny, lab.spec("r_c3la", links=2 * windows, rank=rank))
    seen = {path: [update.index.tolist()] for path, update in method.updates.items()}

    def note(step):
        if step % 2 == 0 and step < 4 * windows:
            for path, update in method.updates.items():
                seen[path].append(update.index.tolist())

    lab.train(tiny, method, 4 * windows, watch=note)
    for used in seen.values():
        for cycle in (used[:windows], used[windows:]):
            assert len({tuple(window) for window in cycle}) == windows
            assert {column for window in cycle for column in window} == set(range(32))
        assert used[:windows] != used[windows:]


@pytest.mark.parametrize("name", [*PLAIN, *CHAINS])
def test_i10_the_rank_of_the_update_is_bounded_by_links_times_r(lab, name):
    tiny = lab.tiny(dtype=torch.float64)
    links = 3 if name in CHAINS else 1
    method = lab.attach(tiny, lab.spec(name, **({"links": 3} if name in CHAINS else {})))
    start = lab.weights(tiny, method)
    lab.train(tiny, method, 9)
    for delta in moved(lab, tiny, method, start).values():
        rank = torch.linalg.matrix_rank(delta, rtol=1e-10)
        assert rank <= links * 4
        if name in ("cola", "rac"):
            assert rank > 4  # a chain that never merges, or RAC that is one frozen A, stays at r


def distance_from_nothing(update):
    """How far a new link is from an update of zero; PaCA's P starts at W / s, and s is a power of two here."""
    if isinstance(update, LowRankUpdate):
        return update.delta().abs().max().item()
    start = update.site.weight[:, update.index] if update._spec.start == "weight" else 0.0
    return (update.scale * update.b - start).abs().max().item()


@pytest.mark.parametrize("name", CHAINS)
def test_i11_a_chain_step_starts_the_adapter_afresh_and_leaves_the_head(lab, name):
    tiny = lab.tiny("roberta")
    method = lab.attach(tiny, lab.spec(name, links=2))
    start = lab.weights(tiny, method)
    optimizer = torch.optim.AdamW(method.groups(1e-2, 1e-2, 0.0))
    head = next(group for group in optimizer.param_groups if group["name"] == "head")["params"][0]
    at = {}

    def look(step):
        if step == 3:
            at["states"] = [len(optimizer.state.get(p, {})) for g in optimizer.param_groups for p in g["params"]
                            if g["name"].startswith("adapter")]  # fmt: skip
            at["head"] = optimizer.state[head]["step"].item()
            at["zero"] = max(distance_from_nothing(update) for update in method.updates.values())
            at["base"] = lab.weights(tiny, method)

    lab.train(tiny, method, 6, optimizer=optimizer, watch=look)
    assert set(at["states"]) == {0}
    assert at["head"] == 3
    assert at["zero"] == 0
    assert all(not torch.equal(at["base"][path], start[path]) for path in start)
