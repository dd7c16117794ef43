"""The bytes of a monitoring repository: from a Git commit (never checked out) or from a working folder."""
