"""When a masked update is masked, and when its mask is taken."""

import pytest
import torch


@pytest.mark.parametrize("name", ["ba_sparse_lora", "ba_sparse_fix_mask"])
def test_an_update_masked_in_training_gives_its_masked_product_while_it_trains(lab, name):
    tiny = lab.tiny(dtype=torch.float64)
    method = lab.attach(tiny, lab.spec(name, every=2))
    lab.train(tiny, method, 4, total=6)
    for update in method.updates.values():
        x = torch.randn(3, update.site.in_features, dtype=torch.float64)
        assert update.training and not update.mask.all()
        expected = x @ (update.scale * update.mask * (update.b @ update.a)).T
        assert torch.allclose(update.branch(x), expected, rtol=0, atol=1e-12)


def test_an_evaluation_or_a_merge_takes_no_mask_of_an_update_masked_in_training(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("ba_sparse_lora", every=5))
    lab.train(tiny, method, 4, total=6)
    tiny.model.eval()
    assert all(update.mask.all() for update in method.updates.values())  # its first mask is due after step 5
    method.merge()
    assert all(update.mask.all() for update in method.updates.values())


def test_a_mask_is_taken_after_every_so_many_steps(lab):
    tiny = lab.tiny()
    method = lab.attach(tiny, lab.spec("ba_sparse_lora", every=3))
    masks = {}

    def look(step):
        masks[step] = torch.cat([update.mask.flatten() for update in method.updates.values()]).clone()

    lab.train(tiny, method, 7, total=9, watch=look)
    changed = [step for step in range(2, 8) if not torch.equal(masks[step], masks[step - 1])]
    assert masks[1].all() and changed == [3, 6]
