"""`bfd-profiles`, which MetalLB has since 0.11."""

from __future__ import annotations

from metallb_cli.config.document import Node, Scalar
from metallb_cli.config.fields import Section
from metallb_cli.config.problem import Code, Problems, quoted
from metallb_cli.config.settings import BfdProfile

KEYS = (
    "name",
    "receive-interval",
    "transmit-interval",
    "detect-multiplier",
    "echo-interval",
    "echo-mode",
    "passive-mode",
    "minimum-ttl",
)


def read_bfd_profiles(items: tuple[Node, ...], problems: Problems) -> tuple[BfdProfile, ...]:
    """Read every profile that has a name of its own."""
    profiles: dict[str, BfdProfile] = {}
    places: dict[str, Scalar] = {}
    for number, item in enumerate(items, 1):
        section = Section(item, f"BFD profile #{number}", KEYS, problems)
        if section.broken:
            continue
        name = section.text("name")
        profile = BfdProfile(
            name=name.text if name else "",
            receive_interval=section.number("receive-interval", 10, 60000, unit=" milliseconds"),
            transmit_interval=section.number("transmit-interval", 10, 60000, unit=" milliseconds"),
            detect_multiplier=section.number("detect-multiplier", 2, 255),
            echo_interval=section.number("echo-interval", 10, 60000, unit=" milliseconds"),
            echo_mode=section.flag("echo-mode", False),
            passive_mode=section.flag("passive-mode", False),
            minimum_ttl=section.number("minimum-ttl", 1, 254),
        )
        if name is None or not name.text:
            if name is not None or section.get("name") is None:
                hint = "Add name: and a name, which peers refer to with bfd-profile."
                problems.error(Code.BFD_NAME_MISSING, name or section.node, f"{section.subject}: missing name", hint)
        elif name.text in profiles:
            where = problems.where(places[name.text])
            message = f"duplicate definition of BFD profile {quoted(name.text)} (first on {where})"
            problems.error(Code.BFD_DUPLICATE, name, message, "Rename or remove one of them.", name.text)
        else:
            profiles[name.text], places[name.text] = profile, name
    return tuple(profiles.values())
