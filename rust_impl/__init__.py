"""What the bench needs to know of our own builds: the extension module's, and the adapter of the binary."""
