"""Chunks on local disk. README.md beside this file has the format and the numbered rules."""
