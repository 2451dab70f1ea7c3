"""From a spec's update and a site to the update of that site."""

from methods.sites import AdapterSite
from methods.spec import BaSparse, Columns, LowRank, SiteUpdateSpec
from methods.update.ba_sparse import BaSparseUpdate
from methods.update.base import SiteUpdate
from methods.update.columns import ColumnsUpdate
from methods.update.low_rank import LowRankUpdate


def make_update(spec: SiteUpdateSpec, site: AdapterSite) -> SiteUpdate:
    """The update of one site at its zero. Raises MethodError for what the spec or the site's weight does not allow."""
    if isinstance(spec, LowRank):
        return LowRankUpdate(spec, site)
    if isinstance(spec, Columns):
        return ColumnsUpdate(spec, site)
    return BaSparseUpdate(spec, site) if isinstance(spec, BaSparse) else spec.make(site)
