"""The faces of a member: S3 for unmodified clients, the node socket for mounts, the admin API for the operator."""
