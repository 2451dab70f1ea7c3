"""Models from the hub, from a package or made here; always a plain transformers model with its layout beside it."""
