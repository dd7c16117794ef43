"""Bytes between members: one protocol, over TCP, or in memory for tests."""
