"""The configuration in force: the newest one that was good. Controller and speakers follow it in the same way."""

from __future__ import annotations

import logging
from collections.abc import Callable

from metallb_cli import config
from metallb_cli.daemon.ports import ConfigMetrics
from metallb_cli.model import Notice, Pool, Reason, Severity

log = logging.getLogger(__name__)


class Configuration:
    """Attributes: loaded: there has been a good one; pools: of the configuration in force, none without one.

    Args:
        metrics: its two configuration gauges are set.
        on_problem: called with each new problem, which has been logged.
    """

    def __init__(self, metrics: ConfigMetrics, on_problem: Callable[[Notice], None] = lambda _notice: None) -> None:
        self.loaded = False
        self.pools: tuple[Pool, ...] = ()
        self._metrics = metrics
        self._on_problem = on_problem
        self._told: Notice | None = None

    def load(self, text: str | None) -> bool:
        """Take a new configuration if it is good; otherwise go on with the one before. Returns whether it was taken."""
        if text is None:
            self._complain(Reason.CONFIG_MISSING, "the ConfigMap does not exist; create it", "")
            return False
        parsed = config.parse(text, source="config")
        if parsed.config is None:
            errors = [p for p in parsed.problems if p.severity is config.Level.ERROR]
            more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
            first = f"line {errors[0].line}: {errors[0].message}{more}"
            self._complain(Reason.CONFIG_INVALID, first, ". `metallb validate-config` shows them all.")
            return False
        self.loaded, self.pools, self._told = True, parsed.config.pools, None
        self._metrics.config_state(loaded=True, stale=False)
        log.info("configuration loaded: %d pools", len(self.pools), extra={"reason": Reason.CONFIG_LOADED.value})
        return True

    def _complain(self, reason: Reason, problem: str, advice: str) -> None:
        self._metrics.config_state(loaded=self.loaded, stale=True)
        kept = "; the configuration before it stays in force" if self.loaded else ""
        notice = Notice(reason, f"{problem}{kept}{advice}", Severity.WARNING)
        if notice != self._told:
            self._told = notice
            log.warning("%s", notice.message, extra={"reason": reason.value})
            self._on_problem(notice)
