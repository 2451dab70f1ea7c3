"""From a spec's schedule to the schedule."""

from methods.schedule.base import Schedule
from methods.schedule.chain import ChainSchedule
from methods.schedule.constant import ConstantSchedule
from methods.schedule.squeeze import InSqueezeSchedule, PostSqueezeSchedule
from methods.spec import Chain, Constant, InSqueeze, PostSqueeze, ScheduleSpec


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Not bound to any update yet."""
    if isinstance(spec, Constant):
        return ConstantSchedule()
    if isinstance(spec, InSqueeze):
        return InSqueezeSchedule(spec)
    if isinstance(spec, PostSqueeze):
        return PostSqueezeSchedule(spec)
    return ChainSchedule(spec) if isinstance(spec, Chain) else spec.make()
