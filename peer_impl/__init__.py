"""Other people's k-means, for the bench: faiss, SuperKMeans, mlpack. ``make peers`` installs them."""
