"""ARP as bytes and state machines, without sockets or clocks."""
