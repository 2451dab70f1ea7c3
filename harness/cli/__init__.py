"""The verbs of the command line: each parses its words, calls one room, and prints what it said."""
