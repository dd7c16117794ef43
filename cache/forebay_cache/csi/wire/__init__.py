"""Messages of gRPC: our own .proto files and what `make gen` writes from them."""
