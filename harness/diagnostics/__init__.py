"""What is measured of a finished run, from the weights it kept: one file per kind, each a function of a `Subject`."""
