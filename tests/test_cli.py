"""The command line as a whole: start-up, help, completion, errors. Each command's own behaviour is tested beside it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from metallb_cli import __version__, cli
from metallb_cli.errors import ApiUnavailableError, MetalLBError, UsageError

METALLB = str(Path(sys.executable).with_name("metallb"))
HEAVY = {"aiohttp", "kubernetes", "prometheus_client", "pydantic", "pyroute2", "rich", "scapy", "yaml"}


def python(code, *arguments):
    """Run the code in a fresh interpreter, and return what it prints as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True, timeout=60
    )
    return json.loads(done.stdout.splitlines()[-1])


def modules_after(*arguments):
    """The top-level modules that `metallb ARGUMENTS` has imported when it ends."""
    return set(
        python(
            "import json, sys\n"
            "from metallb_cli.cli import main\n"
            "try: main(sys.argv[1:])\n"
            "except SystemExit: pass\n"
            "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))",
            *arguments,
        )
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], [], ["no-such-command"]])
def test_what_needs_no_subcommand_imports_no_library_but_click(arguments):
    imported = modules_after(*arguments)
    assert "click" in imported
    assert not imported & HEAVY


def test_validating_a_file_loads_neither_the_api_client_nor_the_network_libraries(tmp_path):
    (tmp_path / "config").write_text("address-pools: []\n")
    imported = modules_after("validate-config", str(tmp_path / "config"))
    assert not imported & {"aiohttp", "kubernetes", "prometheus_client", "pydantic", "pyroute2", "scapy"}


def test_the_help_lists_every_command_with_what_it_is_for():
    shown = CliRunner().invoke(cli.main, ["--help"]).output
    for name, (_, purpose) in cli.COMMANDS.items():
        assert re.search(rf"^  {name}\s+{re.escape(purpose)}$", shown, re.MULTILINE), name
    for name in cli.HIDDEN:
        assert not re.search(rf"^  {name} ", shown, re.MULTILINE), name


@pytest.mark.parametrize("name", [*cli.COMMANDS, *cli.HIDDEN])
def test_every_command_explains_itself(name):
    result = CliRunner().invoke(cli.main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert f"Usage: main {name}" in result.output
    undocumented = [
        option.name
        for option in cli.main.get_command(click.Context(cli.main), name).params
        if isinstance(option, click.Option) and not option.hidden and not option.help
    ]
    assert not undocumented or name in cli.HIDDEN


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_the_help_of_every_command_gives_examples_that_parse(name):
    shown = CliRunner().invoke(cli.main, [name, "--help"], terminal_width=200).output
    examples = re.findall(rf"^\s+(?:\$ )?metallb {name}( .*?)?(?:  .*)?$", shown, re.MULTILINE)
    assert "Examples:" in shown
    assert examples
    command = cli.main.get_command(click.Context(cli.main), name)
    for example in examples:
        words = [word for word in example.split() if word not in {"<", "|"}]
        parsed = command.make_context(name, [word.strip("\"'") for word in words], resilient_parsing=True)
        assert parsed.command is command


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["status", "--no-such-option"]])
def test_wrong_usage_ends_with_2_and_says_where_the_help_is(arguments):
    result = CliRunner().invoke(cli.main, arguments)
    assert result.exit_code == 2
    assert "--help" in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MetalLBError("the pool is full"), 1),
        (UsageError("no node name"), 2),
        (ApiUnavailableError("no answer from the API server"), 3),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(monkeypatch, error, code):
    @click.command()
    def failing():
        raise error

    monkeypatch.setattr(cli.LazyGroup, "get_command", lambda self, ctx, name: failing)
    result = CliRunner().invoke(cli.main, ["status"])
    assert result.stderr == f"Error: {error}\n"
    assert result.stdout == ""
    assert result.exit_code == code


def test_a_cluster_that_does_not_answer_is_exit_code_3_and_one_line(tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    done = subprocess.run(
        [sys.executable, "-m", "metallb_cli", "status", "--kubeconfig", str(kubeconfig), "--namespace", "metal-system"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 3, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("Error: ")
    assert "127.0.0.1:1" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_there_for_the_shell(shell):
    environment = {**os.environ, "_METALLB_COMPLETE": f"{shell}_source"}
    done = subprocess.run([METALLB], env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"_METALLB_COMPLETE={shell}_complete" in done.stdout


def test_completion_offers_the_commands():
    environment = {**os.environ, "_METALLB_COMPLETE": "bash_complete", "COMP_WORDS": "metallb va", "COMP_CWORD": "1"}
    done = subprocess.run([METALLB], env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["plain,validate-config"]


def test_the_version_is_printed():
    assert CliRunner().invoke(cli.main, ["--version"]).output == f"metallb, version {__version__}\n"
