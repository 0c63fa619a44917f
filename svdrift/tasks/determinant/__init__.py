"""Determinants of small integer matrices, exactly; after the sequel's task (arXiv 2509.12235)."""
