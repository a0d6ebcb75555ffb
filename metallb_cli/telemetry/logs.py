"""Logs: one JSON object per line for machines, or one readable line for people; always on stderr."""

from __future__ import annotations

import enum
import json
import logging
import sys
from datetime import UTC, datetime

PACKAGE = "metallb_cli"

LEVELS = {
    "all": 1,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "none": logging.CRITICAL + 1,
}
"""MetalLB's names. `all` lets the libraries' debug lines through as well."""

FORMATS = ("json", "text")

NAMES = {logging.DEBUG: "debug", logging.INFO: "info", logging.WARNING: "warn"}

NOT_EXTRA = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"})


def configure(level: str = "info", format: str = "json") -> None:
    """Send everything that is logged in this process to stderr.

    Args:
        level: a key of LEVELS.
        format: one of FORMATS.

    Raises:
        ValueError: neither of those.
    """
    if level not in LEVELS or format not in FORMATS:
        raise ValueError(f"no such log level or format: {level!r}, {format!r}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    number = LEVELS[level]
    root.setLevel(number if level == "all" else max(number, logging.WARNING))
    logging.getLogger(PACKAGE).setLevel(number)
    logging.captureWarnings(capture=True)
    # A log that cannot be written must not become a traceback, which could not be written either.
    logging.raiseExceptions = False


class JsonFormatter(logging.Formatter):
    """Formats as `{"ts": …, "level": …, "caller": …, "msg": …}`, with the facts given as `extra` beside them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line."""
        line: dict[str, object] = {
            "ts": _timestamp(record),
            "level": NAMES.get(record.levelno, "error"),
            "caller": _caller(record),
            "msg": record.getMessage(),
        }
        for name, value in _facts(record).items():
            line.setdefault(name, value)
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = f"{type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
            line["stack"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class TextFormatter(logging.Formatter):
    """Formats as `time LEVEL namespace/service: message (reason, other=facts)`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and after it the stack of an exception."""
        facts = _facts(record)
        service = facts.pop("service", None)
        reason = facts.pop("reason", None)
        notes = [str(reason)] if reason else []
        notes += [f"{name}={value}" for name, value in facts.items()]
        text = f"{_timestamp(record)} {NAMES.get(record.levelno, 'error').upper():5} "
        message = record.getMessage()
        text += message if not service or message.startswith(f"{service}: ") else f"{service}: {message}"
        text += f" ({', '.join(notes)})" if notes else ""
        # Annotations are written by strangers and end up in messages: no control sequences for the terminal.
        text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return {name: _plain(value) for name, value in vars(record).items() if name not in NOT_EXTRA}


def _plain(value: object) -> object:
    if isinstance(value, enum.Enum):
        return value.value
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _timestamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _caller(record: logging.LogRecord) -> str:
    return f"{record.name.removeprefix(PACKAGE + '.')}:{record.lineno}"
