import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from metallb_cli.cli import main
from metallb_cli.config import parse_manifest
from metallb_cli.view.problems import print_manifests, secret_lines

ROOT = Path(__file__).resolve().parents[2]
GOOD = "address-pools:\n- name: a\n  protocol: layer2\n  addresses: [10.0.0.0/24]\n"
WARNED = GOOD + "  auto-asign: true\n"
BAD = GOOD.replace("layer2", "layer3")


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the command in an empty folder, 80 columns wide."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def run(*arguments, stdin=None):
        return CliRunner().invoke(main, ["validate-config", *arguments], input=stdin)

    return run


def shown(text, width=80, source="c.yml"):
    out = StringIO()
    print_manifests([parse_manifest(text, source)], out, width=width)
    return out.getvalue()


# -- exit codes


def test_a_good_file_ends_with_0(run):
    Path("c.yml").write_text(GOOD)
    result = run("c.yml")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "c.yml: valid: 1 pool")


def test_warnings_are_allowed(run):
    Path("c.yml").write_text(WARNED)
    result = run("c.yml")
    assert (result.exit_code, result.output.splitlines()[-1]) == (0, "c.yml: valid: 1 pool, 1 warning")


def test_strict_fails_on_warnings_and_only_then(run):
    Path("w.yml").write_text(WARNED)
    Path("g.yml").write_text(GOOD)
    assert run("--strict", "w.yml").exit_code == 1
    assert run("--strict", "g.yml").exit_code == 0


def test_an_error_ends_with_1(run):
    Path("c.yml").write_text(BAD)
    result = run("c.yml")
    assert (result.exit_code, result.output.splitlines()[-1]) == (1, "c.yml: not valid: 1 error")


def test_one_bad_file_among_good_ones_ends_with_1(run):
    Path("g.yml").write_text(GOOD)
    Path("b.yml").write_text(BAD)
    result = run("g.yml", "b.yml")
    assert result.exit_code == 1
    assert result.output.splitlines()[-2:] == ["g.yml: valid: 1 pool", "b.yml: not valid: 1 error"]


def test_files_of_their_own_may_overlap(run):
    Path("one.yml").write_text(GOOD)
    Path("two.yml").write_text(GOOD)
    assert run("one.yml", "two.yml").exit_code == 0


def test_a_missing_file_ends_with_2_and_nothing_is_checked(run):
    Path("g.yml").write_text(GOOD)
    result = run("g.yml", "none.yml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: cannot read none.yml: No such file or directory\n"


def test_a_folder_ends_with_2(run):
    result = run(".")
    assert (result.exit_code, result.stderr) == (2, "Error: cannot read .: Is a directory\n")


def test_no_file_and_an_unknown_option_end_with_2(run):
    assert run().exit_code == 2
    assert run("--nonsense").exit_code == 2
    assert run("-o", "xml", "c.yml").exit_code == 2


def test_standard_input_is_a_dash_once(run):
    result = run("-", stdin=BAD)
    assert result.exit_code == 1
    assert result.output.startswith('<stdin>:3:13: error: pool "a": unknown protocol "layer3"')
    assert run("-", "-", stdin=GOOD).exit_code == 2


def test_an_endless_file_is_read_to_the_limit_only(run):
    result = run("/dev/zero")
    assert result.exit_code == 1
    assert "/dev/zero:1:1: error: the text is larger than 1 MiB [text-too-large]" in result.output


def test_a_file_that_is_not_text_is_a_problem_and_no_traceback(run):
    Path("c.yml").write_bytes(b"\x89PNG\r\n\x1a\n\x00\xff" * 99)
    result = run("c.yml")
    assert (result.exit_code, result.exception.__class__) == (1, SystemExit)
    assert "c.yml:1:1: error: byte 0x89 is not valid UTF-8 [text-not-utf8]" in result.output


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("**/configmap*.yml")), ids=lambda path: path.name)
def test_every_example_is_accepted_without_a_warning(run, example):
    assert run("--strict", str(example)).exit_code == 0


# -- text

TEXT = """\
apiVersion: v1
kind: ConfigMap
metadata:
  namespace: metal-system
  name: config
data:
  config: |
    address-pools:
    - name: vlan50
      protocol: arp
      auto-asign: false
      cidr:
      - 172.30.1.96/28
      - 172.30.2.0/24
    - name: more
      protocol: layer2
      addresses: [10.0.0.0/24, 172.30.1.100-172.30.1.120]
"""

GOLDEN = """\
configmap.yml:11:7: warning: pool "vlan50": unknown key "auto-asign" is ignored
    [unknown-key]
    11 |       auto-asign: false
       |       ^^^^^^^^^^
    help: Did you mean auto-assign?

configmap.yml:14:9: error: pool "vlan50": pool did not specify an arp-network,
    and CIDR "172.30.2.0/24" falls outside the inferred arp-network
    "172.30.1.0/24" (maybe explicitly define arp-network?) [arp-network-needed]
    14 |       - 172.30.2.0/24
       |         ^^^^^^^^^^^^^
    help: Add arp-network: with the network of the LAN; without it, it is the
    /24 around the first address.

configmap.yml:17:32: error: IP range "172.30.1.100-172.30.1.120" in pool "more"
    overlaps with already defined CIDR "172.30.1.96/28" in pool "vlan50" (line
    13) [pool-overlap]
    17 |       addresses: [10.0.0.0/24, 172.30.1.100-172.30.1.120]
       |                                ^^^^^^^^^^^^^^^^^^^^^^^^^
    help: Both contain 172.30.1.100-172.30.1.111; leave it in one of them.

configmap.yml: not valid: 2 errors, 1 warning
"""

GOLDEN_VALID = """\
Pools of configmap.yml, ConfigMap metal-system/config
  NAME    PROTOCOL  RANGES                         USABLE
  vlan50  arp       172.30.1.96/28                     31
                    172.30.1.0/28
  more    layer2    10.0.0.0/24                276 + 2^64
                    172.30.2.100-172.30.2.119
                    2001:db8::/64

configmap.yml: valid: 2 pools
"""


def test_problems_are_shown_like_those_of_a_compiler():
    assert shown(TEXT, source="configmap.yml") == GOLDEN


def test_a_valid_configuration_ends_in_a_table_of_its_pools():
    text = (
        TEXT.replace("      auto-asign: false\n", "")
        .replace("172.30.2.0/24", "172.30.1.0/28")
        .replace("172.30.1.100-172.30.1.120", "172.30.2.100-172.30.2.119, '2001:db8::/64'")
    )
    output = shown(text, source="configmap.yml")
    tables = output[output.index("Pools of") :]
    assert "".join(f"{line.rstrip()}\n" for line in tables.splitlines()) == GOLDEN_VALID


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_the_screen_unless_a_single_word_is(width):
    for text in (TEXT, "x" * 300 + ": [", "peers: [" + "é" * 500 + ", {my-asn: x}]"):
        for line in shown(text, width=width).splitlines():
            assert len(line) <= width or len(line.split()) == 1, line


def test_the_caret_stands_under_the_value_also_in_a_long_line():
    text = "peers: [" + "{my-asn: 1}, " * 30 + "{my-asn: wrong}" + ", {my-asn: 2}" * 30 + "]"
    lines = shown(text).splitlines()
    at = next(i for i, line in enumerate(lines) if '"wrong"' in line)
    excerpt = next(i for i in range(at, len(lines)) if "wrong}" in lines[i])
    assert lines[excerpt].index("wrong}") == lines[excerpt + 1].index("^^^^^")


def test_a_wide_character_moves_the_caret_by_two_columns():
    lines = shown('address-pools: [{name: "日本", protocol: x}]').splitlines()
    at = next(i for i, line in enumerate(lines) if "[pool-protocol-unknown]" in line)
    assert lines[at + 1].index("x") + 2 == lines[at + 2].index("^")


def test_terminal_sequences_in_a_file_do_not_reach_the_terminal():
    output = shown('address-pools: [{name: "\\e[31m\\u202e", protocol: x}]\n# \u202e\u009b31m\n', source="a\x1b[2J.yml")
    assert "\x1b" not in output
    assert "\u202e" not in output
    assert output.startswith("a\\x1b[2J.yml:")


def test_no_colour_without_a_terminal_and_markup_is_plain_text():
    output = shown(BAD.replace("layer3", "'[red]x[/red]'"))
    assert "\x1b" not in output
    assert 'unknown protocol "[red]x[/red]"' in output


def test_lines_that_may_hold_a_password_are_not_shown():
    twice = "  password: hunter2\n  password: hunter2\n  paswd: hunter2\n"
    text = f"peers:\n- my-asn: 1\n{twice}- {{password: hunter2, my-asn: x}}\n"
    output = shown(text)
    assert "hunter2" not in output
    assert output.count("this line is not shown, because it may hold a password") >= 3
    assert "     2 | - my-asn: 1" in output


def test_the_lines_below_a_password_are_hidden_as_far_as_they_are_nested():
    lines = ["- password: |", "    a", "", "    b", "  my-asn: 1", "password:", "  x", "y: 1", "passive-mode: 1"]
    assert secret_lines(lines) == {0, 1, 2, 3, 5, 6}


def test_a_terminal_that_cannot_show_a_character_gets_an_escape(tmp_path):
    (tmp_path / "c.yml").write_text(BAD.replace("layer3", "é日"))
    done = subprocess.run(
        [sys.executable, "-m", "metallb_cli", "validate-config", str(tmp_path / "c.yml")],
        env={"PYTHONIOENCODING": "ascii", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    assert b'unknown protocol "\\xe9\\u65e5"' in done.stdout


@given(
    st.binary(max_size=200) | st.text(alphabet="-:[]{}&*!|>'\"# \n\tab1é日\u202e\x1b").map(lambda text: text.encode())
)
def test_whatever_a_file_holds_it_can_be_shown(data):
    output = shown(data)
    assert "c.yml: " in output.splitlines()[-1]
    assert "\x1b" not in output


# -- json


def json_of(run, *arguments, **keywords):
    return json.loads(run("-o", "json", *arguments, **keywords).stdout)


def test_the_json_report_has_these_fields_and_no_others(run):
    Path("c.yml").write_text(TEXT.replace("      - 172.30.2.0/24\n", "").replace("172.30.1.100", "172.30.1.112"))
    assert json_of(run, "c.yml") == {
        "files": [
            {
                "file": "c.yml",
                "valid": True,
                "problems": [
                    {
                        "code": "unknown-key",
                        "severity": "warning",
                        "message": 'pool "vlan50": unknown key "auto-asign" is ignored',
                        "hint": "Did you mean auto-assign?",
                        "file": "c.yml",
                        "line": 11,
                        "column": 7,
                        "value": "auto-asign",
                    }
                ],
                "pools": [
                    {
                        "configmap": "metal-system/config",
                        "name": "vlan50",
                        "protocol": "arp",
                        "ranges": ["172.30.1.96/28"],
                        "usable": 16,
                        "usable_ipv4": 16,
                        "usable_ipv6": 0,
                        "auto_assign": True,
                        "avoid_buggy_ips": False,
                        "arp_network": "172.30.1.0/24",
                    },
                    {
                        "configmap": "metal-system/config",
                        "name": "more",
                        "protocol": "layer2",
                        "ranges": ["10.0.0.0/24", "172.30.1.112-172.30.1.120"],
                        "usable": 265,
                        "usable_ipv4": 265,
                        "usable_ipv6": 0,
                        "auto_assign": True,
                        "avoid_buggy_ips": False,
                        "arp_network": None,
                    },
                ],
            }
        ]
    }


def test_an_invalid_file_has_no_pools_in_json(run):
    (file,) = json_of(run, "-", stdin=BAD)["files"]
    assert (file["file"], file["valid"], file["pools"]) == ("<stdin>", False, [])


def test_strict_changes_the_exit_code_and_not_the_report(run):
    Path("c.yml").write_text(WARNED)
    plain, strict = run("-o", "json", "c.yml"), run("-o", "json", "--strict", "c.yml")
    assert (plain.exit_code, strict.exit_code) == (0, 1)
    assert plain.stdout == strict.stdout


def test_json_is_ascii_and_huge_numbers_are_exact(run):
    (file,) = json_of(run, "-", stdin=GOOD.replace("10.0.0.0/24", "'2001:db8::/32'").replace("name: a", "name: é"))[
        "files"
    ]
    assert file["pools"][0]["usable"] == 2**96
    assert run("-o", "json", "-", stdin=GOOD.replace("name: a", "name: é")).stdout.isascii()


def test_the_json_of_the_documentation_is_what_is_printed(run):
    page = (ROOT / "docs" / "config.md").read_text()
    documented = json.loads(page.partition("```json\n")[2].partition("```")[0])
    printed = json_of(run, "-", stdin=WARNED)

    def shape(value):
        if isinstance(value, dict):
            return {key: shape(inner) for key, inner in value.items()}
        return [shape(inner) for inner in value[:1]] if isinstance(value, list) else type(value).__name__

    assert shape(documented) == shape(printed)


def test_the_example_configurations_of_the_documentation_are_valid(run):
    page = (ROOT / "docs" / "config.md").read_text()
    blocks = [part.partition("```")[0] for part in page.split("```yaml\n")[1:]]
    assert len(blocks) == 3
    for text in blocks:
        assert run("--strict", "-", stdin=text).exit_code == 0, text


# -- help and start-up


def test_the_help_has_examples_and_exit_codes(run):
    output = run("--help").output
    assert "kubectl get cm config -n metal-system -o yaml | metallb validate-config -" in output
    assert "Exit codes: 0 fine" in output
    assert all(len(line) <= 80 for line in output.splitlines())


def test_nothing_heavy_is_imported(tmp_path):
    (tmp_path / "c.yml").write_text(GOOD)
    code = (
        "import sys\nfrom metallb_cli.cli import main\n"
        "try: main(['validate-config', sys.argv[1]])\nexcept SystemExit as e: assert e.code == 0\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & {'kubernetes', 'scapy', 'aiohttp', 'pyroute2'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "c.yml")], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "[]"
