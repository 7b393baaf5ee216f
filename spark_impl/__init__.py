"""Spark MLlib's k-means, for the bench. ``make spark`` installs PySpark; Java is the system's."""
