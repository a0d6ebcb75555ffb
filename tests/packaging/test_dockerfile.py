import fnmatch
import re
from pathlib import Path

import pytest

from tests.manifests.objects import container_of, shipped, the

ROOT = Path(__file__).resolve().parents[2]


def instructions():
    """The Dockerfile as (instruction, arguments), continuation lines joined."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return [(word.upper(), rest.strip()) for word, _, rest in (line.partition(" ") for line in lines)]


def stages():
    """The instructions of each stage, without those before the first FROM."""
    found = []
    for instruction in instructions():
        if instruction[0] == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def values(stage, word):
    return [arguments for instruction, arguments in stage if instruction == word]


def ignored(path):
    """Whether .dockerignore keeps the path out; the last line that matches decides."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().split("\n"):
        pattern = line.strip()
        if pattern and not pattern.startswith("#"):
            keep = pattern.startswith("!")
            if fnmatch.fnmatch(path, pattern.lstrip("!").removeprefix("**/")):
                out = not keep
    return out


def test_the_image_runs_metallb_as_nobody():
    *_, final = stages()
    assert values(final, "ENTRYPOINT") == ['["metallb"]']
    assert values(final, "USER") == ["65534:65534"]
    assert not values(final, "CMD")
    controller = the("Deployment", "controller", shipped())
    assert str(controller["spec"]["template"]["spec"]["securityContext"]["runAsUser"]) == "65534"
    assert "command" not in container_of(controller)


def test_the_final_stage_takes_only_the_installed_product():
    build, final = stages()
    assert [command for command in values(final, "COPY") if "--from=build" not in command] == []
    assert values(final, "RUN") == []
    assert values(build, "FROM")[0].split()[0] == values(final, "FROM")[0]


def test_only_runtime_dependencies_are_installed():
    (run,) = values(stages()[0], "RUN")
    assert run.endswith("pip install --no-cache-dir .")


def test_everything_that_is_copied_exists_and_is_in_the_build_context():
    for command in values(stages()[0], "COPY"):
        for source in command.split()[:-1]:
            assert (ROOT / source).exists(), source
            assert not ignored(source), source


@pytest.mark.parametrize("path", [".git", ".venv", "tests", "k8s", "docs", "__pycache__"])
def test_what_the_image_is_not_made_of_stays_out_of_the_build_context(path):
    assert ignored(path)


def test_no_registry_host_is_named():
    text = (ROOT / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert bases
    assert not [base for base in bases if "/" in base]


def test_the_base_image_has_a_python_that_the_project_supports():
    (default,) = [arguments for word, arguments in instructions() if word == "ARG"]
    name, version = re.fullmatch(r"(PYTHON)=(\d+\.\d+)-.*", default).groups()
    assert name == "PYTHON"
    assert tuple(map(int, version.split("."))) >= (3, 11)
