"""An embedded Kubernetes API server: what clients of the API need, in memory, for the lab and for tests."""

from metallb_cli.lab.api.http import RequestRecord
from metallb_cli.lab.api.refusals import Refusal
from metallb_cli.lab.api.server import EmbeddedApi

__all__ = ["EmbeddedApi", "Refusal", "RequestRecord"]
