"""One file per table; each is a function from a Frame to a Table."""
