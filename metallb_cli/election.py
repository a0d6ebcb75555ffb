"""Which node owns an address: the same inputs give the same winner on every node. Pure."""
