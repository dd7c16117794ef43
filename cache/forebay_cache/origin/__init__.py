"""Stores the data really lives in. One protocol (`base`), one file per kind of store."""
