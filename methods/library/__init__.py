"""Our methods in anyone's script: a config for `peft.get_peft_model` in the place of a LoraConfig.

How it is used: docs/your-own-script.md. What lands on disk is a plain LORA adapter, which `peft`
loads, merges and serves without this project.
"""

from methods.library.chain import ChainCallback as ChainCallback
from methods.library.chain import chain_step as chain_step
from methods.library.config import asym as asym
from methods.library.config import c3la as c3la
from methods.library.config import cla as cla
from methods.library.config import cola as cola
from methods.library.config import lora as lora
from methods.library.config import paca as paca
from methods.library.config import r_c3la as r_c3la
from methods.library.config import r_cla as r_cla
from methods.library.config import rac as rac
