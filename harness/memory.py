"""Peak memory of the training windows alone, and of the evaluation windows alone.

CPU: the peak resident set of the process, reset at the start of each window (Linux only). CUDA: what PyTorch allocated
and reserved at its peak, and what is in use on the device when the window ends (it keeps no peak). `ru_maxrss` is not
used: it is inherited across exec. Nothing here runs once per step.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from harness.ledger.quantity import Measured, NotMeasured, Quantity
from harness.measure import synchronise
