"""All faults, room by room."""

from tests.mutate.fault import Fault
from tests.mutate.measure import MEASURE
from tests.mutate.methods import METHODS
from tests.mutate.rank_answers import RANK_ANSWERS
from tests.mutate.ranks import RANKED
from tests.mutate.training import TRAINING

FAULTS: tuple[Fault, ...] = MEASURE + TRAINING + METHODS + RANKED + RANK_ANSWERS
