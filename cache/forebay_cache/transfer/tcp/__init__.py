"""Transfer over TCP: a bounded pool of connections on one side, `sendfile` on the other."""
