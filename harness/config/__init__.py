"""From conf/ and the words of a command line to specs."""
