"""Any estimator with scikit-learn's interface, for the bench."""
