"""The mathematics: colour counts, the exact Lloyd step and loop, seeding, nearest colours.

Knows numpy and numba only: no image files, no storage, no cluster.
"""
