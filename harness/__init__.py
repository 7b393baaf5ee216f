"""The bench: measures k-means implementations on identical data, each in its own process.

One file a step, each importing only earlier steps; ``tests/test_architecture.py`` holds that order.
"""
