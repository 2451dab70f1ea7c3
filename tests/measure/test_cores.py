"""Cores of one's own: shares of made-up machines, and this very process's."""

import os
import subprocess
import sys

import pytest

from harness.measure.cores import PINNED, SHARE, by_node, share_of, shares

TAKE = "from harness.measure.cores import *; import os; take_share(); print(sorted(os.sched_getaffinity(0)), pinned())"


@pytest.fixture
def machine(tmp_path):
    """A folder as Linux describes a machine in: NUMA node -> its cores, and the second thread of each core."""

    def make(nodes, sibling=None):
        for number, cores in nodes.items():
            (tmp_path / f"node/node{number}").mkdir(parents=True)
            (tmp_path / f"node/node{number}/cpulist").write_text(f"{cores}\n")
        for core, other in (sibling or {}).items():
            for each in (core, other):
                (tmp_path / f"cpu/cpu{each}/topology").mkdir(parents=True)
                (tmp_path / f"cpu/cpu{each}/topology/thread_siblings_list").write_text(f"{core},{other}\n")
        return tmp_path

    return make


def test_the_cores_of_a_machine_are_those_of_its_nodes_that_are_allowed_here(machine):
    system = machine({0: "0-3,8-9", 1: "4-7", 2: ""})
    assert by_node(range(2, 10), system) == [[2, 3, 8, 9], [4, 5, 6, 7]]
    assert by_node([5, 1], system / "absent") == [[1, 5]], "a system that does not say is one node"


def test_two_threads_of_a_physical_core_are_not_parted(machine):
    system = machine({0: "0-3"}, {0: 2, 1: 3})
    assert shares(by_node(range(4), system), 2) == [(0, 2), (1, 3)]


def test_shares_keep_within_numa_nodes_where_they_fit():
    two = [list(range(8)), list(range(8, 16))]
    assert shares(two, 2) == [tuple(range(8)), tuple(range(8, 16))]
    assert shares(two, 3) == [(0, 1, 2, 3, 4), (8, 9, 10, 11, 12), (5, 6, 7, 13, 14)], "only the third spans both"
    assert shares([*two, [16, 17]], 2)[0] == tuple(range(9)), "a share may be larger than a node"


@pytest.mark.parametrize("cores", [1, 2, 7, 16, 96])
@pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
def test_shares_are_equal_and_apart_and_there_are_none_for_more_processes_than_cores(cores, count):
    nodes = [list(range(cores // 3)), list(range(cores // 3, cores))]
    parts = shares(nodes, count)
    assert len(parts) == (count if count <= cores else 0)
    assert {len(part) for part in parts} <= {cores // count}
    assert len({core for part in parts for core in part}) == sum(map(len, parts))


def taken(**variables):
    """What a process with these variables is bound to, and says of it."""
    environment = {**os.environ, "SLURM_CPUS_ON_NODE": "", "OMP_NUM_THREADS": "1"} | variables
    environment.pop(PINNED, None)
    return subprocess.run([sys.executable, "-c", TAKE], env=environment, capture_output=True, text=True).stdout.strip()


HERE = sorted(os.sched_getaffinity(0))


@pytest.mark.skipif(len(HERE) < 2, reason="one core cannot be shared out")
def test_a_process_is_bound_to_its_share_and_to_no_other_core():
    parts = shares(by_node(HERE), 2)
    assert [taken(**share_of(number, 2)) for number in (0, 1)] == [f"{sorted(p)} {len(p)}" for p in parts]


def test_nothing_changes_for_one_alone_for_more_than_cores_for_more_threads_and_where_slurm_does_not_say_which_cores():
    free = f"{HERE} None"
    assert share_of(0, 1) == {}
    assert taken() == taken(**share_of(0, len(HERE) + 1)) == free
    assert taken(**share_of(0, 2), OMP_NUM_THREADS=str(len(HERE) + 1)) == free
    assert taken(**share_of(0, 2), SLURM_CPUS_ON_NODE=str(len(HERE) + 1)) == free


def test_a_share_is_taken_once():
    """A worker that becomes a new image of itself, and a child, do not take a share of the share."""
    twice = f"from harness.measure.cores import take_share; take_share(); {TAKE}"
    environment = {**os.environ, "SLURM_CPUS_ON_NODE": "", "OMP_NUM_THREADS": "1", SHARE: "0/2"}
    ran = subprocess.run([sys.executable, "-c", twice], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip() == taken(**share_of(0, 2))
