"""The information bottleneck of a rank: I(T; Y) - beta·I(X; T) of T = A_k·x + noise, where A_k is the first k of given
directions of a weight's input.

Estimate: all of x and y jointly Gaussian, from the moments of one pass; T is noisy, as I(X; T) of a deterministic T is
infinite. Error: jackknife over folds, which also takes off the bias that k·c / 2n nats of chance would be. Nats.
Source: Tishby, Pereira and Bialek, arXiv:physics/0004057; for Gaussians Chechik et al., JMLR 6 (2005).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

FOLDS = 10
TINY = 1e-9  # of the mean variance, added to that of y: classes that a fold lacks leave its covariance singular


class Moments:
    """Sums of z = (t, y) and of z·zᵀ, by fold, in float64."""

    def __init__(self, t: int, y: int, folds: int = FOLDS) -> None:
        self.t, self.width = t, t + y
        self.n = torch.zeros(folds, dtype=torch.float64)
        self.sums = torch.zeros(folds, self.width, dtype=torch.float64)
        self.products = torch.zeros(folds, self.width, self.width, dtype=torch.float64)

    def add(self, t: Tensor, y: Tensor, first: int) -> None:
        """Rows of t (n, k) and y (n, c); `first` is the number of the first row, which decides its fold."""
        z = torch.cat([t.double().cpu(), y.double().cpu()], dim=1)
        folds = len(self.n)
        for start in range(min(folds, len(z))):
            rows, fold = z[start::folds], (first + start) % folds
            self.n[fold] += len(rows)
            self.sums[fold] += rows.sum(0)
            self.products[fold] += rows.T @ rows

    def covariance(self, without: int | None = None) -> Tensor:
        """(t + y, t + y) of all folds but one, about its own mean and over n."""
        kept = torch.arange(len(self.n)) != (-1 if without is None else without)
        n = self.n[kept].sum()
        mean = self.sums[kept].sum(0) / n
        return self.products[kept].sum(0) / n - mean[:, None] * mean


@dataclass(frozen=True)
class Information:
    """By rank 1 … k, in nats: I(T; Y) and I(X; T) with jackknife standard errors, and the objective with its own."""

    about_y: Tensor
    about_y_error: Tensor
    about_x: Tensor
    objective: Tensor
    objective_error: Tensor

    @property
    def rank(self) -> int:
        """The smallest rank whose objective is within one standard error of the best."""
        best = int(self.objective.argmax())
        enough = self.objective >= self.objective[best] - self.objective_error[best]
        return int(enough.nonzero()[0]) + 1


def information(moments: Moments, beta: float, noise: float) -> Information:
    """noise: its variance, as a share of the mean variance of the directions."""
    t = moments.t
    whole = moments.covariance()
    variance = max(noise * float(whole.diagonal()[:t].mean()), torch.finfo(torch.float64).tiny)
    of_all = gaussian(whole, t, variance)
    left_out = [gaussian(moments.covariance(fold), t, variance) for fold in range(len(moments.n))]
    about_y, about_y_error = _jackknife(of_all[0], torch.stack([y for y, _ in left_out]))
    about_x, _ = _jackknife(of_all[1], torch.stack([x for _, x in left_out]))
    objective, error = _jackknife(of_all[0] - beta * of_all[1], torch.stack([y - beta * x for y, x in left_out]))
    return Information(about_y, about_y_error, about_x, objective, error)


def gaussian(covariance: Tensor, t: int, variance: float) -> tuple[Tensor, Tensor]:
    """(I(T; Y), I(X; T)) of the first 1 … t directions, in nats; `covariance` is of (t, y), `variance` the noise's.

    Leading minors of one Cholesky factor each: log det of every k at once.
    """
    of_t, of_y, cross = covariance[:t, :t], covariance[t:, t:], covariance[:t, t:]
    noisy = of_t + variance * torch.eye(t, dtype=of_t.dtype)
    ridge = TINY * float(of_y.diagonal().mean()) + torch.finfo(of_y.dtype).tiny
    given_y = noisy - cross @ torch.linalg.solve(of_y + ridge * torch.eye(len(of_y), dtype=of_y.dtype), cross.T)
    log_t, log_given = _log_minors(noisy), _log_minors(given_y)
    steps = torch.arange(1, t + 1, dtype=of_t.dtype)
    return 0.5 * (log_t - log_given), 0.5 * (log_t - steps * torch.log(torch.tensor(variance, dtype=of_t.dtype)))


def _log_minors(matrix: Tensor) -> Tensor:
    return 2 * torch.linalg.cholesky(matrix).diagonal().log().cumsum(0)


def _jackknife(whole: Tensor, left_out: Tensor) -> tuple[Tensor, Tensor]:
    """(estimate without its bias of order 1/n, standard error); left_out is (folds, ...)."""
    folds, mean = len(left_out), left_out.mean(0)
    error = ((folds - 1) / folds * (left_out - mean).square().sum(0)).sqrt()
    return folds * whole - (folds - 1) * mean, error
