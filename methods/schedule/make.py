"""From a spec's schedule to the schedule."""

from methods.schedule.base import Schedule
from methods.schedule.chain import ChainSchedule
from methods.schedule.constant import ConstantSchedule
from methods.spec import Chain, Constant, ScheduleSpec


def make_schedule(spec: ScheduleSpec) -> Schedule:
    """Not bound to any update yet."""
    if isinstance(spec, Constant):
        return ConstantSchedule()
    return ChainSchedule(spec) if isinstance(spec, Chain) else spec.make()
