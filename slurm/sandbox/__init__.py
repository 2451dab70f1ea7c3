"""A real SLURM in one directory, with fake nodes and fake GPUs: for the tests, and for trying things out."""
