"""From a spec's schedule to the schedule."""

from collections.abc import Callable
from typing import Any

from methods.rank_spec import Grow, Reassign, Select
from methods.schedule.base import Schedule
from methods.schedule.chain import ChainSchedule
from methods.schedule.constant import ConstantSchedule
from methods.schedule.grow import GrowSchedule
from methods.schedule.reassign import ReassignSchedule
from methods.schedule.select import SelectSchedule
from methods.schedule.squeeze import InSqueezeSchedule, PostSqueezeSchedule
from methods.spec import Chain, Constant, InSqueeze, PostSqueeze, ScheduleSpec

_MAKERS: dict[type, Callable[[Any], Schedule]] = {
    Chain: ChainSchedule,
    Grow: GrowSchedule,
    InSqueeze: InSqueezeSchedule,
    PostSqueeze: PostSqueezeSchedule,
    Reassign: ReassignSchedule,
    Select: SelectSchedule,
}


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Not bound to any update yet."""
    if isinstance(spec, Constant):
        return ConstantSchedule()
    maker = _MAKERS.get(type(spec))
    return spec.make() if maker is None else maker(spec)
