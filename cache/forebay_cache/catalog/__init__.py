"""Commits: what a Dataset holds and where each file's bytes are. Immutable files, named by their content."""
