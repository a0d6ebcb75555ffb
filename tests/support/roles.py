"""The product's daemons as child processes, as a cluster would run them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path


def until(condition, seconds=15.0, pause=0.03, what=""):
    """Wait for a true value and return it; an assertion naming `what` when it does not come."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"{what or 'the condition'} did not come true within {seconds} s"
        time.sleep(pause)


class Role:
    """One `metallb` process. `port` is where /metrics, /healthz and /readyz are."""

    def __init__(self, folder, name, *arguments, environment=None):
        self.log_file = Path(folder) / f"{name}-{time.monotonic_ns()}.log"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("KUBE", "METALLB"))}
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "metallb_cli", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**clean, **(environment or {})},
            )

    @property
    def log(self):
        return self.log_file.read_text(errors="replace")

    def records(self):
        """The log as dictionaries; lines that are none are left out."""
        for line in self.log.splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue

    @property
    def port(self):
        def find():
            assert self.process.poll() is None, f"the process ended with {self.process.returncode}:\n{self.log}"
            return re.search(r'"port": ?(\d+)', self.log)

        return int(until(find, what="the line that names the port")[1])

    def page(self, path):
        """Status and text of one of the pages."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def ready(self, seconds=20.0):
        until(lambda: self.page("/readyz")[0] == 200, seconds, what=f"readiness; log:\n{self.log}")
        return self

    def metric(self, name):
        """Samples of one name: labels as written, to value."""
        found = {}
        for line in self.page("/metrics")[1].splitlines():
            if match := re.fullmatch(rf"{name}(\{{.*\}})? (\S+)", line):
                found[match[1] or ""] = float(match[2])
        return found

    def kill(self):
        self.process.kill()
        self.process.wait(10)

    def stop(self, seconds=10.0):
        """SIGTERM and the exit code; SIGKILL when it takes longer."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
        return self.process.returncode
