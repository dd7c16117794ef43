"""The processes that benches of the S3 face start: one worker of Forebay from its real parts, and its rivals."""

KEY, SECRET = "BENCHKEY", "bench-secret"
"""Who may read the bucket `closed`."""
