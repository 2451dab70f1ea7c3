"""From a spec's update and a site to the update of that site."""

from collections.abc import Callable
from typing import Any

from methods.rank_spec import Gated, Nested, Sinc, Sine, Weighted
from methods.sites import AdapterSite
from methods.spec import BaSparse, Columns, LowRank, Orthogonal, SiteUpdateSpec
from methods.update.ba_sparse import BaSparseUpdate
from methods.update.base import SiteUpdate
from methods.update.columns import ColumnsUpdate
from methods.update.gated import GatedUpdate
from methods.update.low_rank import LowRankUpdate
from methods.update.nested import NestedUpdate
from methods.update.orthogonal import OrthogonalUpdate
from methods.update.sinc import SincUpdate
from methods.update.sine import SineUpdate
from methods.update.weighted import WeightedUpdate

_MAKERS: dict[type, Callable[[Any, AdapterSite], SiteUpdate]] = {
    LowRank: LowRankUpdate,
    Columns: ColumnsUpdate,
    BaSparse: BaSparseUpdate,
    Gated: GatedUpdate,
    Nested: NestedUpdate,
    Orthogonal: OrthogonalUpdate,
    Sinc: SincUpdate,
    Sine: SineUpdate,
    Weighted: WeightedUpdate,
}


def make_update(spec: SiteUpdateSpec, site: AdapterSite) -> SiteUpdate:
    """The update of one site at its zero. Raises MethodError for what the spec or the site's weight does not allow."""
    maker = _MAKERS.get(type(spec))
    return spec.make(site) if maker is None else maker(spec, site)
