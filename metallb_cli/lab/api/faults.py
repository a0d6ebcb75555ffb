"""What goes wrong on request, so that tests can see how clients take it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from metallb_cli.lab.api.refusals import Refusal, expired

REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    410: "Expired",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}


@dataclass(slots=True)
class Rule:
    """What happens to the next requests of a kind.

    Attributes:
        verb: `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`; None for every one.
        resource: plural, with `/status` for the status; None for every one.
        remaining: how many requests more; None for all.
        status: refuse with this HTTP status; 0 does not refuse.
        retry_after: seconds in the Retry-After header, or None.
        delay: seconds before the request is looked at.
        lose_answer: do what is asked, then close the connection without a word.
    """

    verb: str | None = None
    resource: str | None = None
    remaining: int | None = None
    status: int = 0
    retry_after: int | None = None
    delay: float = 0.0
    lose_answer: bool = False

    def matches(self, verb: str, resource: str) -> bool:
        """Whether the request is one of those."""
        return self.verb in (None, verb) and self.resource in (None, resource) and self.remaining != 0

    def refusal(self) -> Refusal:
        """What to answer."""
        if self.status == 410:
            return expired("too old resource version")
        reason = REASONS.get(self.status, "")
        return Refusal(self.status, reason, f"refused on request of a test: {reason}", {}, retry_after=self.retry_after)


@dataclass(slots=True)
class Faults:
    """All that is set at present. Touch it only from the server's event loop."""

    rules: list[Rule] = field(default_factory=list)
    running: asyncio.Event = field(default_factory=asyncio.Event)
    watches_running: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.running.set()
        self.watches_running.set()

    async def before(self, verb: str, resource: str) -> Rule | None:
        """Hold the request back as long as the faults say; the rule about its answer, if there is one.

        Raises:
            Refusal: the request is one of those to refuse.
        """
        found = None
        for rule in self.rules:
            if rule.matches(verb, resource):
                if rule.remaining is not None:
                    rule.remaining -= 1
                if rule.delay:
                    await asyncio.sleep(rule.delay)
                if rule.status or rule.lose_answer:
                    found = rule
                    break
        self.rules = [rule for rule in self.rules if rule.remaining != 0]
        await self.running.wait()
        if found is not None and found.status:
            raise found.refusal()
        return found

    async def before_event(self) -> None:
        """Hold a watch's event back as long as the faults say."""
        await self.watches_running.wait()
        await self.running.wait()
