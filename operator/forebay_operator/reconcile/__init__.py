"""The loop that keeps clusters as their manifests say: `loop` decides whom to look at, `cluster` is the walk of one look."""
