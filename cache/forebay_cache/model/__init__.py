"""Words every part of the cache shares: ids, byte arithmetic, errors. No I/O."""
