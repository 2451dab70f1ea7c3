"""Training procedures whose steps need more than the gradients of one batch: the loop asks them for the gradients."""
