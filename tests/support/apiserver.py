"""A real kube-apiserver with its etcd, for tests: on free loopback ports, with all they write in one temporary folder.

The programs come from the folder that KUBEBUILDER_ASSETS names (the convention of envtest, so any Kubernetes release
can be used), else from the cache that `build-kube-apiserver.sh` fills: Kubernetes 1.20.2, built from Debian's sources.
"""

import base64
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from functools import cached_property
from pathlib import Path

import urllib3

from tests.support.raw_api import RawApi

BUILD_SCRIPT = Path(__file__).with_name("build-kube-apiserver.sh")
BUILD_TIMEOUT = 1800.0
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0
ATTEMPTS = 3  # somebody else may take a free port between our look and our use
ADMIN_TOKEN = "admin-token"
SERVICE_RANGE = "10.96.0.0/16"
CONTROLLERS = (
    "daemonset",
    "deployment",
    "endpoint",
    "endpointslice",
    "garbagecollector",
    "namespace",
    "replicaset",
    "serviceaccount",
    "statefulset",
)


class AssetsMissing(Exception):
    """The programs are not there and cannot be built; the message says what is missing and how to get it."""


class StartFailed(Exception):
    """A program did not start; the message ends with the tail of its log."""


def assets_folder():
    """Where the programs are, or will be after a build."""
    if named := os.environ.get("KUBEBUILDER_ASSETS"):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "metallb" / "kube-1.20.2"


def missing_programs(names=("etcd", "kube-apiserver")):
    return [name for name in names if not os.access(assets_folder() / name, os.X_OK)]


def ensure_assets(say=print):
    """Return the folder with etcd and kube-apiserver, building them first when they are missing.

    Raises AssetsMissing when they cannot be had here.
    """
    folder = assets_folder()
    if not (missing := missing_programs()):
        return folder
    if os.environ.get("KUBEBUILDER_ASSETS"):
        raise AssetsMissing(
            f"KUBEBUILDER_ASSETS={folder} has no {' and no '.join(missing)}: unset it, or fill that folder"
        )
    tools = [tool for tool in ("bash", "apt-get", "dpkg", "tar") if shutil.which(tool) is None]
    if tools:
        raise AssetsMissing(
            f"there is no kube-apiserver in {folder}, and building one (on Debian 12) needs {', '.join(tools)}: "
            "install that, or set KUBEBUILDER_ASSETS to a folder with both programs, as `setup-envtest use` makes one"
        )
    say(f"building kube-apiserver 1.20.2 into {folder}: about 3 minutes on 2 cores, once")
    environment = {**os.environ, "KUBE_ASSETS_DIR": str(folder), "PYTHON": sys.executable}
    with subprocess.Popen(
        ["bash", str(BUILD_SCRIPT)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as build:
        tail = []
        started = time.monotonic()
        for line in build.stdout:
            tail = [*tail[-19:], line.rstrip()]
            say("  " + line.rstrip())
            if time.monotonic() - started > BUILD_TIMEOUT:
                build.kill()
        status = build.wait(timeout=30)
    if status or missing_programs():
        raise AssetsMissing(f"{BUILD_SCRIPT.name} failed with status {status}:\n" + "\n".join(tail))
    return folder


def free_ports(count):
    """Distinct loopback TCP ports that nobody listens on at present."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Program:
    """A child process with its log in a file."""

    def __init__(self, arguments, log):
        self.name = Path(arguments[0]).name
        self.log = Path(log)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    @property
    def pid(self):
        return self.process.pid

    def tail(self, lines=25):
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def check(self):
        """Raise StartFailed when the process has ended."""
        if (status := self.process.poll()) is not None:
            raise StartFailed(f"{self.name} ended with status {status}; the end of {self.log}:\n{self.tail()}")

    def stop(self):
        for stop in (self.process.terminate, self.process.kill):
            stop()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=STOP_TIMEOUT)
                return


class RealApi(RawApi):
    """A running kube-apiserver with RBAC.

    Attributes: `url`; `token`, which may do everything; `ca_file`; `kubeconfig`, a file with both; `folder`, where the
    logs are; `version`, such as (1, 20).
    Methods: those of RawApi, `token_of`, `write_kubeconfig`, `start_controllers`, `expire_history`, `stop`.
    """

    def __init__(self, assets, folder, programs, url, etcd_url):
        super().__init__(url, ADMIN_TOKEN, folder / "certs" / "apiserver.crt")
        self.assets = assets
        self.folder = folder
        self.programs = programs
        self.etcd_url = etcd_url
        self.kubeconfig = self.write_kubeconfig(folder / "kubeconfig", ADMIN_TOKEN)

    @cached_property
    def version(self):
        command = [str(self.assets / "kube-apiserver"), "--version"]
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
        major, minor = re.search(r"v(\d+)\.(\d+)", said).groups()
        return int(major), int(minor)

    def token_of(self, namespace, name, seconds=3600):
        """A token of the service account, which is created when missing: it may do what RBAC allows that account."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        self._create_missing(
            "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        )
        self._create_missing(path, account)
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [self.url], "expirationSeconds": seconds},
        }
        return self.post(f"{path}/{name}/token", request).ok()["status"]["token"]

    def _create_missing(self, path, body):
        answer = self.post(path, body)
        if answer.status != 409:
            answer.ok()

    def write_kubeconfig(self, path, token, namespace=None):
        """Write a kubeconfig for the token; returns its path."""
        authority = base64.b64encode(Path(self.ca_file).read_bytes()).decode()
        context = {"cluster": "test", "user": "test", **({"namespace": namespace} if namespace else {})}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        path = Path(path)
        path.write_text(json.dumps(content))
        path.chmod(0o600)
        return path

    def expire_history(self):
        """Have etcd forget all changes: pages and watches of Secrets from before this moment are answered with 410.

        For the other resources the API server goes on answering from its own memory.
        """
        pool = urllib3.PoolManager(retries=False)
        with contextlib.closing(pool.request("POST", f"{self.etcd_url}/v3/kv/range", json={"key": "AA=="})) as answer:
            revision = answer.json()["header"]["revision"]
        body = {"revision": revision, "physical": True}
        answer = pool.request("POST", f"{self.etcd_url}/v3/kv/compaction", json=body)
        assert answer.status == 200, answer.data
        pool.clear()

    def start_controllers(self, names=CONTROLLERS):
        """Start kube-controller-manager with these controllers; it stops with the API server.

        There is no scheduler and no kubelet: a test binds pods to nodes and writes their status itself.
        """
        if missing := missing_programs(("kube-controller-manager",)):
            raise AssetsMissing(f"{self.assets} has no {missing[0]}")
        arguments = [
            str(self.assets / "kube-controller-manager"),
            f"--kubeconfig={self.kubeconfig}",
            f"--controllers={','.join(names)}",
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--secure-port=0",
            f"--service-account-private-key-file={self.folder / 'sa.key'}",
            f"--root-ca-file={self.ca_file}",
            "--concurrent-endpoint-syncs=2",
        ]
        if self.version < (1, 24):
            arguments.append("--port=0")
        program = Program(arguments, self.folder / "kube-controller-manager.log")
        self.programs.append(program)
        time.sleep(0.3)  # a bad flag ends it at once; nothing says when it is ready but what it does
        program.check()
        return program

    def stop(self):
        self.close()
        while self.programs:
            self.programs.pop().stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def start_real_api(say=print):
    """Start etcd and kube-apiserver; returns when the API server is ready. Raises AssetsMissing or StartFailed."""
    assets = ensure_assets(say)
    for attempt in range(1, ATTEMPTS + 1):
        folder = Path(tempfile.mkdtemp(prefix="metallb-kube-"))
        programs = []
        try:
            return _start(assets, folder, programs)
        except BaseException as error:
            for program in reversed(programs):
                program.stop()
            shutil.rmtree(folder, ignore_errors=True)
            if not (isinstance(error, StartFailed) and "address already in use" in str(error)) or attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable")


def _start(assets, folder, programs):
    client_port, peer_port, port = free_ports(3)
    etcd_url, peer_url, url = (
        f"http://127.0.0.1:{client_port}",
        f"http://127.0.0.1:{peer_port}",
        f"https://127.0.0.1:{port}",
    )
    _make_signing_key(folder / "sa.key")
    (folder / "tokens.csv").write_text(f"{ADMIN_TOKEN},admin,admin,system:masters\n")
    programs.append(
        Program(
            [
                str(assets / "etcd"),
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls={etcd_url}",
                f"--advertise-client-urls={etcd_url}",
                f"--listen-peer-urls={peer_url}",
                f"--initial-advertise-peer-urls={peer_url}",
                f"--initial-cluster=default={peer_url}",
                "--unsafe-no-fsync",
            ],
            folder / "etcd.log",
        )
    )
    programs.append(
        Program(
            [
                str(assets / "kube-apiserver"),
                f"--etcd-servers={etcd_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={port}",
                f"--cert-dir={folder / 'certs'}",
                "--advertise-address=127.0.0.1",
                "--endpoint-reconciler-type=none",
                f"--service-account-issuer={url}",
                f"--service-account-key-file={folder / 'sa.key'}",
                f"--service-account-signing-key-file={folder / 'sa.key'}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                f"--service-cluster-ip-range={SERVICE_RANGE}",
                "--allow-privileged=true",
                "--watch-cache-sizes=secrets#0",  # watches of Secrets go to etcd itself: see expire_history
                "--disable-admission-plugins=ServiceAccount",  # nobody makes the token Secrets that it asks for
            ],
            folder / "kube-apiserver.log",
        )
    )
    certificate = folder / "certs" / "apiserver.crt"
    deadline = time.monotonic() + READY_TIMEOUT
    while not (certificate.exists() and _is_ready(url, certificate)):
        for program in programs:
            program.check()
        if time.monotonic() > deadline:
            raise StartFailed(
                f"kube-apiserver is not ready after {READY_TIMEOUT:.0f} s; the end of its log:\n{programs[-1].tail()}"
            )
        time.sleep(0.1)
    return RealApi(assets, folder, programs, url, etcd_url)


def _is_ready(url, certificate):
    try:
        with contextlib.closing(RawApi(url, ADMIN_TOKEN, certificate)) as api:
            return api.get("/readyz", timeout=2.0).status == 200
    except OSError:
        return False
    except Exception as error:
        if type(error).__module__.startswith("urllib3"):
            return False
        raise


def _make_signing_key(path):
    if shutil.which("openssl") is None:
        raise AssetsMissing(
            "openssl is missing, which makes the key for service account tokens: apt-get install openssl"
        )
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True, capture_output=True, timeout=60)
