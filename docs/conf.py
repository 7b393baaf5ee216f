"""How Sphinx builds the documentation: pages in Markdown, the API from the docstrings."""

from __future__ import annotations

import rust_kmeans

project = "rust-kmeans"
release = rust_kmeans.__version__
html_title = f"rust-kmeans {release}"
html_theme = "furo"
html_show_copyright = False
html_copy_source = False
exclude_patterns = ["_build"]
extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]

myst_heading_anchors = 3

# Names in backticks become links where the pages know them.
default_role = "py:obj"
# Docstrings say the types, with the shapes.
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# The API page lists the methods itself: most of those inherited are documented by scikit-learn.
numpydoc_show_class_members = False
