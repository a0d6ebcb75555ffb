"""A cluster in one machine: an embedded Kubernetes API, a LAN in network namespaces, nodes and a client."""
