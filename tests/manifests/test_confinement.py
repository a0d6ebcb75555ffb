"""The speaker works inside what its manifest leaves it: user 0 with NET_RAW alone, and a file system to read only."""

import contextlib
import socket
import subprocess
import sys

import pytest

from metallb_cli.linux.netns import namespaces
from tests.manifests.installed import NODE
from tests.manifests.objects import container_of, the
from tests.support.roles import until

ADDRESS = "172.30.1.97"


def confined(security):
    """A command that runs the rest of its arguments as a container with this securityContext would."""
    assert security["allowPrivilegeEscalation"] is False
    assert security["readOnlyRootFilesystem"] is True
    assert security["capabilities"]["drop"] == ["ALL"]
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in security["capabilities"].get("add", []))])
    read_only = ["unshare", "--mount", "sh", "-c", 'mount -o remount,bind,ro / && exec "$@"', "sh"]
    return [*read_only, "setpriv", "--no-new-privs", "--inh-caps=-all", f"--bounding-set={kept}"]


def ask(namespace, address):
    """Have the kernel of that namespace look for the address."""

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out, contextlib.suppress(OSError):
            out.sendto(b"x", (address, 9))

    namespace.run(send)


@pytest.mark.live
def test_the_speaker_answers_with_no_more_rights_than_the_manifest_gives(cluster, tmp_path):
    cluster.serve("web", ADDRESS)
    security = container_of(the("DaemonSet", "speaker"))["securityContext"]
    with contextlib.ExitStack() as stack:
        node, lan = stack.enter_context(namespaces("mlb-confined", "node", "lan"))
        node.add_veth("eth0", "port", lan)
        node.set_up("eth0")
        lan.set_up("port")
        lan.add_address("port", "172.30.1.200/24")
        _, kubeconfig = cluster.door("speaker", inside=node)
        log = tmp_path / "log"
        with log.open("wb") as out:
            speaker = node.popen(
                [
                    *confined(security),
                    *(sys.executable, "-B", "-m", "metallb_cli", "speaker", "--node", NODE),
                    *("--kubeconfig", str(kubeconfig), "-n", cluster.system, "--log-level", "debug"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        stack.callback(speaker.wait, 10)
        stack.callback(speaker.kill)

        def answered():
            assert speaker.poll() is None, log.read_text()
            ask(lan, ADDRESS)
            return lan.neighbours("port").get(ADDRESS) == node.mac("eth0")

        until(answered, pause=0.2, what="an answer for the address")
        speaker.terminate()
        assert speaker.wait(10) == 0, log.read_text()
