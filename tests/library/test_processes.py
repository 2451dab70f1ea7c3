"""Two processes train as one: DDP, and FSDP with the weights really in two parts."""

import multiprocessing

import pytest
import torch
import torch.distributed as dist
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from tests.library import conftest as script


def replicated(model):
    return DistributedDataParallel(model)


def sharded(model):
    for layer in model.base_model.model.bert.encoder.layer:
        fully_shard(layer)
    return fully_shard(model)


def work(rank, folder, name, spread):
    """Half of each batch, in one of two processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.FileStore(f"{folder}/store", 2), rank=rank, world_size=2)
    model = script.adapted(name)
    script.train(spread(model), loss=lambda m, batch: m(**{key: t.chunk(2)[rank] for key, t in batch.items()}).loss)
    whole = {key: t.full_tensor() if hasattr(t, "full_tensor") else t for key, t in script.factors(model).items()}
    torch.save(whole, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow  # two more processes
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("spread", [replicated, sharded])
@pytest.mark.parametrize("name", ["cla", "c3la"])
def test_two_processes_train_as_one(name, spread, tmp_path):
    fork = multiprocessing.get_context("fork")  # nothing is imported anew
    processes = [fork.Process(target=work, args=(rank, str(tmp_path), name, spread)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    alone = script.adapted(name)
    script.train(alone)
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        for key, tensor in script.factors(alone).items():
            torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-6, msg=key)
