"""The cache: members that keep chunks near the readers, and the mount that serves them."""
