"""Kinds of updates and schedules whose rank is learned, sampled, grown or cut. Standard library only.

Kept apart from `methods.spec`, which holds what the study needs.
"""
