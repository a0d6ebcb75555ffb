import pytest

from tests.commands.handover import Scene


@pytest.fixture
def scene(embedded_api, tmp_path):
    made = Scene(embedded_api.url, embedded_api.kubeconfig(tmp_path / "kubeconfig"))
    yield made
    embedded_api.thaw()
    made.close()
