from __future__ import annotations

import pytest

from ovnloom.core.errors import ConfigError
from ovnloom.core.kube import crds
from ovnloom.core.kube.client import ApiError, Client, Sent
from ovnloom.core.kube.kinds import IPS, NODES, PODS, STATEFULSETS, SUBNETS
from tests.functional.apiserver import NOBODY, ApiServer

pytestmark = pytest.mark.kube


async def test_requests_are_counted_as_the_server_authorises_them(client: Client, namespace: str) -> None:
    await client.request("GET", PODS.path(namespace))
    assert client.requests == {Sent("list", "pods"): 1}
    assert (client.reads, client.writes) == (1, 0)


async def test_what_the_server_refuses_is_a_typed_error(client: Client, namespace: str) -> None:
    with pytest.raises(ApiError) as missing:
        await client.request("GET", PODS.path(namespace, "nothing"))
    assert missing.value.not_found
    assert missing.value.message == 'pods "nothing" not found'


async def test_credentials_are_those_of_the_kubeconfig(apiserver: ApiServer) -> None:
    async with Client.load(str(apiserver.kubeconfig_of(NOBODY))) as nobody:
        with pytest.raises(ApiError) as refused:
            await nobody.request("GET", PODS.path())
    assert refused.value.status == 403
    assert 'User "nobody" cannot list resource "pods"' in refused.value.message


async def test_every_kind_that_is_not_served_is_named_with_the_cure(client: Client) -> None:
    with pytest.raises(ConfigError) as error:
        await crds.check(client, [PODS, NODES, STATEFULSETS, SUBNETS, IPS])
    assert error.value.problems == [
        "the API server does not serve ips.kubeovn.io/v1",
        "the API server does not serve subnets.kubeovn.io/v1",
        "install what is missing with: ovnloom crds | kubectl apply -f -",
    ]
    await crds.check(client, [PODS, NODES, STATEFULSETS])
