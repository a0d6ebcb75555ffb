import pytest

from tests.manifests.installed import Cluster
from tests.support.raw_api import RawApi


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
def cluster(request, tmp_path):
    """Everything installed on an API server of its own kind; on the real one RBAC decides about every request."""
    api = request.getfixturevalue(f"{request.param}_api")
    if request.param == "embedded":
        kubeconfig = tmp_path / "kubeconfig"
        api.kubeconfig(kubeconfig)
        made = Cluster(RawApi(api.url), kubeconfig, tmp_path)
    else:
        made = Cluster(api, api.kubeconfig, tmp_path, api.token_of)
    yield made
    made.close()
    made.raw.delete(made.service("web"))
