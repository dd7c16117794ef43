"""The operator: decides what should run, and makes it so."""
