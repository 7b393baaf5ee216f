"""The textbook algorithm in NumPy: the reference everyone can read."""
