"""Breaks each import contract once, in a copy of the tree, and sees it bite."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINT = str(Path(sys.executable).with_name("lint-imports"))

BREAKS = re.findall(r"^\| (.+?) \| `(.+?)` in `(.+?)` \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)


@pytest.fixture
def copy(tmp_path):
    """A copy of what import-linter reads."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "metallb_cli", tmp_path / "metallb_cli", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def lint(folder):
    return subprocess.run([LINT, "--no-cache"], cwd=folder, check=False, capture_output=True, text=True, timeout=100)


def contract_names():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return {contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]}


def test_the_tree_as_it_is_keeps_every_contract(copy):
    done = lint(copy)
    assert done.returncode == 0, done.stdout


def test_every_contract_is_broken_once_below():
    assert contract_names() <= {contract for contract, _, _ in BREAKS}


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "line", "path"), BREAKS)
def test_a_forbidden_import_is_found(copy, contract, line, path):
    module = copy / path
    module.write_text(module.read_text() + f"\n{line}\n")
    done = lint(copy)
    assert done.returncode == 1, done.stdout
    broken = re.findall(r"^(.+?) BROKEN", done.stdout, re.MULTILINE)
    assert broken
    assert contract in broken or contract not in contract_names()
