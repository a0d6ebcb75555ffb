import re
from pathlib import Path

from tests.telemetry.test_metrics import controller, lines_of, speaker

TEXT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()


def exposed():
    full = [controller(api_silence=lambda: {"services": 1.0}), speaker()]
    return {line.split()[2]: line.split()[3] for metrics in full for line in lines_of(metrics) if line[0] == "#"}


def documented():
    """The names in the first column of the tables, with their types; one beginning with _ continues the one before."""
    found = {}
    for names, kind in re.findall(r"^\| (`metallb_[^|]+) \| (\w+) \|", TEXT, re.MULTILINE):
        first = ""
        for name in re.findall(r"`([^`]+)`", names):
            if not name.startswith("_"):
                first = name
            found[name if name == first else re.sub(r"_requests_received$", name, first)] = kind
    return found


def test_the_documentation_names_every_metric_with_its_type_and_no_other():
    assert documented() == exposed()


def test_alerts_use_metrics_that_exist():
    examples = re.search(r"```yaml\n(.*?)```", TEXT, re.DOTALL).group(1)
    assert set(re.findall(r"metallb_\w+", examples)) <= set(exposed())
