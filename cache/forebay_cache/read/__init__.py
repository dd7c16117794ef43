"""The read path: local store, else origin, with one fill however many wait."""
