"""The real kube-proxy on the nodes of a LAN."""

import shutil
import subprocess
from urllib.parse import urlsplit

from tests.support.apiserver import Program, missing_programs
from tests.support.relay import Relay


def why_not():
    """What is missing to run kube-proxy here; empty when nothing."""
    if missing := missing_programs(("kube-proxy",)):
        return f"{missing[0]} is not among the assets"
    for command in ("iptables", "conntrack"):
        if shutil.which(command) is None:
            return f"kube-proxy needs the command `{command}`: apt-get install {command}"
    return ""


class KubeProxy:
    """kube-proxy in iptables mode inside one node's namespace."""

    def __init__(self, real_api, host, folder):
        url = urlsplit(real_api.url)
        host.namespace.set_sysctl("net.ipv4.ip_forward", 1)
        self.relay = Relay(host.namespace, (url.hostname, url.port))
        self.log = folder / f"kube-proxy-{host.name}.log"
        arguments = [
            "nsenter",
            f"--net={host.namespace.reference}",
            str(real_api.assets / "kube-proxy"),
            f"--kubeconfig={real_api.kubeconfig}",
            f"--hostname-override={host.name}",
            "--proxy-mode=iptables",
            "--cluster-cidr=10.244.0.0/16",
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
            "--healthz-bind-address=127.0.0.1:10256",
            "--metrics-bind-address=127.0.0.1:10249",
            "--v=2",
        ]
        self.program = Program(arguments, self.log)
        self.namespace = host.namespace

    def rules(self):
        """What it wrote, as iptables-save prints it."""
        done = self.namespace.popen(["iptables-save", "-t", "nat"], stdout=subprocess.PIPE, text=True)
        return done.communicate(timeout=10)[0]

    def stop(self):
        self.program.stop()
        self.relay.close()
