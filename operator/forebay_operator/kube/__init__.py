"""The API server, real (`http`) or as a dictionary that answers like it (`memory`)."""
