"""What the documentation says about names, files and commands is true."""

import re
import shlex
from pathlib import Path

import click
import pytest

from metallb_cli import __version__, cli
from metallb_cli.model import Reason

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def test_every_reason_is_explained_once_and_no_other():
    explained = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "reasons.md").read_text(), re.MULTILINE)
    assert sorted(explained) == sorted(reason.value for reason in Reason)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_to_a_file_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_inside_a_page_has_its_heading(page):
    text = page.read_text()
    headings = {re.sub(r"[^\w\- ]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in text.splitlines()}
    for target in re.findall(r"\]\(#([^)]+)\)", text):
        assert target in headings, target


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_make_target_named_exists(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^\s*(?:\$ )?|`)make ([a-z0-9-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_metallb_command_shown_can_be_parsed(page):
    root = click.Context(cli.main, info_name="metallb")
    shown = re.findall(r"(?:^\s*(?:\$ )?|`)(?:\.venv/bin/)?metallb ([a-z][^`\n]*)", page.read_text(), re.MULTILINE)
    for line in shown:
        name, *words = shlex.split(re.split(r"   |  #", line)[0].replace("[", "").replace("]", ""))
        command = cli.main.get_command(root, name)
        assert command is not None, line
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = {word.partition("=")[0] for word in words if word.startswith("-") and word != "-"}
        assert given <= known | {"--help", "-h"}, line


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_no_page_has_leftovers(page):
    assert not re.search(r"\b(TODO|FIXME|XXX|TBD)\b", page.read_text())


def test_the_image_that_is_built_is_the_one_that_the_manifests_name():
    for page in (ROOT / "README.md", ROOT / "Dockerfile"):
        assert set(re.findall(r"metallb:(\d[\d.]*\d)", page.read_text())) == {__version__}, page.name
