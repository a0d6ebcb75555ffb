"""`python -m metallb_cli.lab.api`: the embedded API server as a process, for benchmarks and for trying things out."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

import yaml

from metallb_cli.lab.api import EmbeddedApi, Refusal


def main() -> int:
    """Serve until SIGTERM or SIGINT. Prints the base URL as soon as requests are answered."""
    parser = argparse.ArgumentParser(prog="python -m metallb_cli.lab.api", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="port on the loopback; 0 for a free one")
    parser.add_argument("--kubeconfig", type=Path, help="write a kubeconfig there")
    parser.add_argument("--token", help="ask for this bearer token")
    parser.add_argument("--data", type=Path, action="append", default=[], help="YAML file with objects to begin with")
    options = parser.parse_args()
    api = EmbeddedApi(options.port, token=options.token)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        url = api.start()
    except OSError as error:
        sys.stderr.write(f"cannot listen on port {options.port}: {error.strerror}\n")
        return 1
    try:
        for file in options.data:
            api.load(each for each in yaml.safe_load_all(file.read_text()) if each)
        if options.kubeconfig:
            api.kubeconfig(options.kubeconfig)
        sys.stdout.write(f"{url}\n")
        sys.stdout.flush()
        ended.wait()
    except (OSError, yaml.YAMLError, Refusal) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        api.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
