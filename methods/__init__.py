"""How weights may move while a model is fine-tuned. Torch only: knows no dataset, no training loop and no file.

Kept empty, so that `methods.spec` (plain data, read when planning) needs no torch.
"""
