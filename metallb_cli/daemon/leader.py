"""The thread that takes part in the election of the leading controller."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from metallb_cli.daemon.ports import LeaseStore
from metallb_cli.errors import ApiError, ApiUnavailableError
from metallb_cli.reconcile.leadership import Candidacy, Terms

log = logging.getLogger(__name__)


class Election:
    """Keeps trying to hold one Lease. `leading` is safe to ask from any thread, at any time, before any write."""

    def __init__(
        self, leases: LeaseStore, name: str, identity: str, terms: Terms, on_failure: Callable[[BaseException], None]
    ) -> None:
        self._leases = leases
        self._name = name
        self._terms = terms
        self._candidacy = Candidacy(name, identity, terms)
        self._on_failure = on_failure
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="election", daemon=True)
        self._was_leading = False

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def leading(self) -> bool:
        """Whether this process may write now. Turns False by itself when a renewal is overdue."""
        return self._candidacy.leading(time.monotonic())

    @property
    def holder(self) -> str:
        """Who holds the Lease as far as known."""
        return self._candidacy.holder

    def stop(self) -> None:
        """Give the Lease back, so that another replica need not wait for it to expire. Bounded by a few seconds."""
        self._stop.set()
        # A call on its way ends by its own time-out, which is the retry period.
        self._thread.join(self._terms.renew_deadline)
        lease = self._candidacy.resign()
        if lease is not None and not self._thread.is_alive():
            try:
                self._leases.write(lease, self._terms.retry)
            except (ApiError, ApiUnavailableError) as error:
                log.warning("could not give the Lease %s back: %s", self._name, error)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._turn()
                self._tell()
                self._stop.wait(self._terms.retry)
        except Exception as error:
            log.critical("the election failed: %s", error, exc_info=True)
            self._on_failure(error)

    def _turn(self) -> None:
        # Both calls together stay within the renew deadline, so that the right never ends merely by slowness.
        timeout = self._terms.renew_deadline / 3
        try:
            lease = self._leases.get(self._name, timeout)
            self._candidacy.observe(lease, time.monotonic())
            wanted = self._candidacy.wanted(time.monotonic())
            if wanted is not None:
                started = time.monotonic()
                self._candidacy.wrote(self._leases.write(wanted, timeout), started)
        except ApiError as error:
            # 409: another candidate was faster; the next turn reads what it wrote.
            level = logging.DEBUG if error.status == 409 else logging.WARNING
            log.log(level, "election: %s", error)
        except ApiUnavailableError as error:
            log.warning("election: the API server does not answer: %s", error)

    def _tell(self) -> None:
        leading = self.leading()
        if leading != self._was_leading:
            self._was_leading = leading
            log.info("this replica %s", "leads" if leading else "does not lead any more")
