"""The kernel: sockets, netlink, namespaces, privileges. The only package that imports pyroute2 and scapy."""
