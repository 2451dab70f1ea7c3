"""The efficiency probe: what one training step costs, on fixed shapes, with weights from a model's card alone."""
