"""LoRA-Squeeze (https://arxiv.org/abs/2602.10993): in stages of one training, or of a source run before the first step.

B·A becomes its best product of a lower rank, in balanced factors; the scale stays that of the update. Directions that
the product does not have are drawn anew in A and zero in B, so that they have gradients and change nothing yet.
"""

from collections.abc import Mapping
from itertools import accumulate
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from methods.compress import Compressed, compress, variance_kept
from methods.errors import MethodError
from methods.method import NO_CHANGE, Change, Progress, Replaced
from methods.schedule.constant import ConstantSchedule
from methods.spec import InSqueeze, PostSqueeze
from methods.stages import stage_lengths, stage_ranks
from methods.training import Training
from methods.update.base import SiteUpdate
from methods.update.init import factor
from methods.update.low_rank import LowRankUpdate


class _Squeezing(ConstantSchedule):
    """Compresses all updates, and remembers what was kept of each."""

    def __init__(self, core: str, moments: str) -> None:
        self._core, self._moments = core, moments
        self._squeezes: list[dict[str, Any]] = []

    def _squeeze(self, step: int, rank: int) -> Change:
        """All updates to `rank`; the entry of the history is kept."""
        replaced, kept, before = [], {}, 0
        for path, update in self.updates.items():
            assert isinstance(update, LowRankUpdate), "planning refuses others"
            before = max(before, update.a.shape[0])
            small = self._compressed(path, update, rank)
            kept[path] = variance_kept(small.spectrum, rank)
            replaced += _replace(update, small, self._moments == "projected")
        entry = {"step": step, "rank_before": before, "rank": rank, "variance_kept": kept}
        self._squeezes.append(entry)
        return Change(replaced=tuple(replaced), event={"event": "rank"} | _short(entry))

    @torch.no_grad()
    def _compressed(self, path: str, update: LowRankUpdate, rank: int) -> Compressed:
        number = len(self._squeezes)
        generator = self.draw("squeeze", "core", path, number)
        small = compress(update.b, update.a, rank, backend=self._core, generator=generator)  # type: ignore[arg-type]
        drawn = factor("kaiming_uniform", (rank, update.a.shape[1]), self.draw("squeeze", "anew", path, number))
        return _with_new_directions(small, drawn, update.a.shape[0])

    def facts(self) -> dict[str, Any]:
        return {"squeezes": self.history()}

    def restore(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        self._squeezes = [dict(entry) for entry in facts["squeezes"]]

    def history(self) -> list[dict[str, Any]]:
        """Of each change of rank: step, ranks, and the share of Σ s² that each site has kept."""
        return [dict(entry) for entry in self._squeezes]


class InSqueezeSchedule(_Squeezing):
    """Stages of falling rank within one training; none is shorter than a step."""

    def __init__(self, spec: InSqueeze) -> None:
        super().__init__(spec.core, spec.moments)
        self.spec = spec
        self._ends: dict[int, int] = {}  # step after which a stage ends -> the next one's rank

    def begin(self, training: Training) -> None:
        ranks = stage_ranks(_rank(self.updates), self.spec.ranks)
        ends = accumulate(stage_lengths(training.total, ranks, self.spec.minimum))
        self._ends = dict(zip(ends, ranks[1:], strict=False))

    def after_step(self, progress: Progress) -> Change:
        rank = self._ends.get(progress.step)
        if rank is not None and all(entry["step"] != progress.step for entry in self._squeezes):
            return self._squeeze(progress.step, rank)
        if progress.step >= progress.total and len(self._squeezes) != len(self._ends):
            raise MethodError(f"{len(self._squeezes)} of {len(self._ends)} changes of rank were made.")
        return NO_CHANGE

    def outdates(self, facts: Mapping[str, Any]) -> bool:
        return len(facts["squeezes"]) < len(self._squeezes)


class PostSqueezeSchedule(_Squeezing):
    """One change of rank, before the first step."""

    def __init__(self, spec: PostSqueeze) -> None:
        super().__init__(spec.core, "renewed")
        self.spec = spec

    def start(self) -> None:
        self._squeeze(0, self.spec.rank)


def _rank(updates: Mapping[str, SiteUpdate]) -> int:
    return next(update.a.shape[0] for update in updates.values() if isinstance(update, LowRankUpdate))


def _with_new_directions(small: Compressed, drawn: Tensor, rank_before: int) -> Compressed:
    """`small` with exactly the rows of `drawn`; where its singular value is nothing but rounding, A is as drawn."""
    rank, spectrum = drawn.shape[0], small.spectrum
    floor = torch.finfo(small.a.dtype).eps * max(rank_before, 1) * spectrum[:1].sum()
    alive = int((spectrum[:rank] > floor).sum())
    b = small.b.new_zeros(small.b.shape[0], rank)
    b[:, :alive] = small.b[:, :alive]
    a = drawn.to(small.a.device, small.a.dtype)
    a[:alive] = small.a[:alive]
    return Compressed(b, a, spectrum)


@torch.no_grad()
def _replace(update: LowRankUpdate, small: Compressed, projected: bool) -> list[Replaced]:
    """The factors take the places of the old ones.

    With M = S⁻¹·B'ᵀ·B and N = A·A'ᵀ·S⁻¹ the new factors are B' = B·N and A' = M·A, so that gradients of B and A are
    those of B' and A' by g·Mᵀ and Nᵀ·g. First moments follow alike; second ones, with entries taken as uncorrelated,
    by the squares of M and N. New directions have none.
    """
    if not projected:
        return [update.replace("b", small.b), update.replace("a", small.a)]
    rank = small.a.shape[0]
    alive = small.b.abs().sum(0) > 0
    inverse = torch.zeros(rank, dtype=small.b.dtype, device=small.b.device)
    inverse[alive] = 1 / small.spectrum[:rank][alive[: len(small.spectrum)]]
    m, n = inverse[:, None] * (small.b.T @ update.b), (update.a @ small.a.T) * inverse
    return [
        update.replace("b", small.b, lambda g: g @ m.T, lambda v: v @ m.T.square()),
        update.replace("a", small.a, lambda g: n.T @ g, lambda v: n.T.square() @ v),
    ]


def _short(entry: Mapping[str, Any]) -> dict[str, Any]:
    """For the event log: the mean over all sites."""
    return {**entry, "variance_kept": fmean(entry["variance_kept"].values())}
