"""Pure functions from arrays to intervals, tests and ranks.

A generator is an argument; nothing here reads a file or a frame.
"""
