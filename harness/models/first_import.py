"""The first import of a large library in a process, with the garbage collector off.

An import makes a million objects and hardly any garbage; the collector would look through all of them again and again,
which is a fifth of the CPU time and more that torch and transformers take to load.
"""

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def first_import(module: str) -> Iterator[None]:
    """Nothing that is there afterwards is looked through again. Does nothing where `module` is loaded: what is there
    then may be garbage, which would stay."""
    if module in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
