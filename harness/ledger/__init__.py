"""What a run is called, and what it said. Standard library only (and `methods.spec`, which is data)."""
