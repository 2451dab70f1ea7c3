"""The one error of this room: a method that cannot act on a model, or that did not do what its spec says."""


class MethodError(ValueError):
    """One sentence for a person: what, where, the valid choices, the next step."""
