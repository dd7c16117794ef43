"""Everything another process may rely on: documents, ports, metrics, frames. Readers ignore fields they do not know."""
