"""What reads a cluster from outside: an S3 session, used by the `forebay` command."""
