"""How one weight may move: one file for each update's state, its fast path and its plain dense reference.

Kept empty, so that importing a spec loads no torch.
"""
