"""Mounts commits on this node: EROFS on loop devices over virtual files that FUSE workers answer from the member's chunks."""
