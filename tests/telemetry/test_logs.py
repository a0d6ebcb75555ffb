import io
import json
import logging
import subprocess
import sys
import warnings
from datetime import UTC, datetime

import pytest

from metallb_cli.model import Reason, ServiceKey
from metallb_cli.telemetry import logs

log = logging.getLogger("metallb_cli.kube.reflector")
library = logging.getLogger("urllib3.connectionpool")


@pytest.fixture
def configured(monkeypatch):
    """`lines = configured(level, format)`; call `lines()` to get what was logged since."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level, logging.getLogger("metallb_cli").level, logging.raiseExceptions)

    def configure(*arguments):
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        logs.configure(*arguments)
        return lambda: stream.getvalue().splitlines()

    yield configure
    logging.captureWarnings(False)
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    logging.getLogger("metallb_cli").setLevel(before[2])
    logging.raiseExceptions = before[3]


def test_a_json_line_has_time_level_caller_message_and_facts(configured):
    lines = configured("info", "json")
    log.warning("assigned %s", "10.0.0.1", extra={"reason": Reason.ALLOCATED, "service": ServiceKey("n", "s"), "n": 3})
    (line,) = lines()
    entry = json.loads(line)
    when = datetime.fromisoformat(entry.pop("ts"))
    assert abs((datetime.now(UTC) - when).total_seconds()) < 5
    caller, _, number = entry.pop("caller").partition(":")
    assert caller == "kube.reflector"
    assert int(number) > 0
    assert entry == {"level": "warn", "msg": "assigned 10.0.0.1", "reason": "IPAllocated", "service": "n/s", "n": 3}


def test_an_exception_is_one_line_of_json(configured):
    lines = configured("info", "json")
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("failed")
    (line,) = lines()
    entry = json.loads(line)
    assert (entry["level"], entry["error"]) == ("error", "ValueError: a\nb")
    assert entry["stack"].startswith("Traceback")


@pytest.mark.parametrize("format", ["json", "text"])
def test_whatever_is_logged_is_one_printable_line(configured, format):
    lines = configured("info", format)
    log.info("evil %s", "\x1b[2J\nsecond line\ud800", extra={"service": "a\nb", "x": object()})
    (line,) = lines()
    assert line.isprintable()
    assert "evil" in line


def test_facts_cannot_take_the_place_of_the_message(configured):
    lines = configured("info", "json")
    log.info("the message", extra={"level": "x", "ts": "y", "caller": "z"})
    entry = json.loads(lines()[0])
    assert (entry["msg"], entry["level"]) == ("the message", "info")
    assert entry["ts"] != "y"


def test_text_puts_the_service_first_and_the_reason_last(configured):
    lines = configured("info", "text")
    log.info("assigned", extra={"reason": "IPAllocated", "service": "n/s", "address": "10.0.0.1"})
    (line,) = lines()
    when, rest = line.split(" ", 1)
    assert datetime.fromisoformat(when).tzinfo is not None
    assert rest == "INFO  n/s: assigned (IPAllocated, address=10.0.0.1)"


def test_text_does_not_name_the_service_twice(configured):
    lines = configured("info", "text")
    log.info("n/s: assigned", extra={"service": "n/s"})
    assert lines()[0].endswith("INFO  n/s: assigned")


def test_text_shows_the_stack_of_an_exception(configured):
    lines = configured("info", "text")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("failed")
    assert lines()[0].endswith("ERROR failed")
    assert lines()[1].startswith("Traceback")
    assert lines()[-1] == "ValueError: why"


@pytest.mark.parametrize(
    ("level", "ours", "theirs"),
    [
        ("all", ["debug", "info", "warn", "error"], ["debug", "info", "warn", "error"]),
        ("debug", ["debug", "info", "warn", "error"], ["warn", "error"]),
        ("info", ["info", "warn", "error"], ["warn", "error"]),
        ("warn", ["warn", "error"], ["warn", "error"]),
        ("error", ["error"], ["error"]),
        ("none", [], []),
    ],
)
def test_levels_are_metallbs_and_libraries_stay_quiet(configured, level, ours, theirs):
    for logger, expected in ((log, ours), (library, theirs)):
        lines = configured(level, "json")
        for method in (logger.debug, logger.info, logger.warning, logger.error):
            method("x")
        assert [json.loads(line)["level"] for line in lines()] == expected


def test_configuring_again_does_not_double_lines(configured):
    configured("info", "json")
    lines = configured("info", "json")
    log.info("once")
    assert len(lines()) == 1


def test_python_warnings_are_log_lines(configured):
    lines = configured("info", "json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn("careful", stacklevel=1)
    assert "careful" in json.loads(lines()[0])["msg"]


@pytest.mark.parametrize(("level", "format"), [("loud", "json"), ("info", "xml"), ("", "")])
def test_an_unknown_level_or_format_is_refused(level, format):
    with pytest.raises(ValueError, match="no such log level or format"):
        logs.configure(level, format)


def test_a_log_that_cannot_be_written_is_no_traceback():
    code = (
        "import os, logging; from metallb_cli.telemetry import logs; logs.configure(); r, w = os.pipe(); os.close(r); "
        "os.dup2(w, 2); logging.getLogger('metallb_cli').error('x'); print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "still here\n"


def test_logs_go_to_stderr_and_nothing_to_stdout():
    code = (
        "import logging; from metallb_cli.telemetry import logs; logs.configure(); "
        "logging.getLogger('metallb_cli').info('x')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == ""
    assert json.loads(done.stderr)["msg"] == "x"
