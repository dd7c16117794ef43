"""Which chunk goes first when room is needed, and which is let in at all. README.md beside this file has the rules."""
