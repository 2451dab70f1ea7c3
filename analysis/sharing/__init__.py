"""Records that leave a machine, and records that come from others'."""
