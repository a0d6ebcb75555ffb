"""MetalLB: addresses for Kubernetes LoadBalancer Services on bare metal, answered for on the LAN."""

__version__ = "0.1.0"
