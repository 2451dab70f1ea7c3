"""Small faults, put into the source one at a time: for each, a named test must fail. `make mutate` runs them."""
