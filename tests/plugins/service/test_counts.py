"""What a change costs, and that a restart costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ovnloom.core.desired.diff import owned_strays
from ovnloom.core.desired.model import RowKey
from ovnloom.core.kube.kinds import SUBNETS
from ovnloom.core.ovn.ops import Delete, Insert, Mutate, Op
from ovnloom.core.ovn.schema import row_uuid
from ovnloom.core.testing import CLUSTER, World
from ovnloom.plugins.service.model import SERVICES
from tests.plugins.service.words import endpoint, piece, service, vips

SERVICES_, ENDPOINTS = 50, 10


class Watched:
    """Keeps the operations of each transaction."""

    def __init__(self, world: World) -> None:
        self.transactions: list[list[Op]] = []
        self._commit = world.database.commit
        world.database.commit = self.commit  # type: ignore[method-assign]  # an observer in between, the database is the same

    def commit(self, ops: Iterable[Op]) -> None:
        self.transactions.append(list(ops))
        self._commit(self.transactions[-1])


def slices(first: str) -> Iterable[dict[str, object]]:
    for n in range(SERVICES_):
        addresses = [f"10.16.{n}.{first}", *(f"10.16.{n}.{e}" for e in range(1, ENDPOINTS))]
        yield piece(*map(endpoint, addresses), of=f"web{n}")


def test_a_flip_of_one_endpoint_each_is_one_transaction_of_single_vips(world: World) -> None:
    world.apply(
        *(service(f"web{n}", clusterIP=f"10.96.1.{n}", ports=[{"port": p, "name": str(p)} for p in (80, 81)]) for n in range(SERVICES_))
    )
    world.apply(*({**p, "ports": [{"name": "80", "protocol": "TCP", "port": 1}]} for p in slices("100")))
    watched = Watched(world)
    for one in slices("101"):
        world.put({**one, "ports": [{"name": "80", "protocol": "TCP", "port": 1}]})
    world.settle()
    [ops] = watched.transactions
    assert len(ops) == SERVICES_
    for n, op in enumerate(sorted(ops, key=lambda op: int(str(next(iter(op.delete))).partition(":")[0].rpartition(".")[2]))):  # type: ignore[union-attr]
        assert isinstance(op, Mutate)
        assert (op.table, op.column, op.delete) == ("Load_Balancer", "vips", (f"10.96.1.{n}:80",))
        assert list(op.insert) == [f"10.96.1.{n}:80"]
        assert vips(world, f"default/web{n}:tcp")[f"10.96.1.{n}:80"].count(",") == ENDPOINTS - 1


def test_what_does_not_matter_is_not_written(world: World) -> None:
    world.apply(service(), piece(endpoint("10.16.0.9"), endpoint("10.16.0.8")))
    watched = Watched(world)
    world.apply(piece(endpoint("10.16.0.8", serving=True), endpoint("10.16.0.9")))
    world.apply({**service(), "metadata": {"name": "web", "namespace": "default", "labels": {"a": "b"}}})
    assert not watched.transactions
    writes = len(world.writes)
    restarted = world.restarted()
    assert not watched.transactions
    assert len(world.writes) == writes
    assert not restarted.writes


def test_the_end_of_a_service_is_said_once(world: World) -> None:
    """Rows that go are not emptied first: a change of a row that is gone would be one to look after again."""
    world.apply(service(clusterIPs=["10.96.0.10", "fd00:96::10"]), piece(endpoint("10.16.0.9")))
    watched = Watched(world)
    world.delete(SERVICES, "web", "default")
    [ops] = watched.transactions
    assert [(type(op), op.table) for op in ops] == [(Delete, "Load_Balancer"), (Mutate, "Load_Balancer_Group")]


def test_a_restart_finds_what_went_meanwhile(world: World) -> None:
    world.apply(service(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}]), service("gone", clusterIP="10.96.0.11"))
    world.remove(SERVICES, "gone", "default")  # the former process does no step any more
    world.put(service(ports=[{"name": "a", "port": 80}]))
    other = world.restarted()
    assert set(other.rows("Load_Balancer")) == {"default/web:tcp"}
    assert vips(other) == {"10.96.0.10:80": ""}


def test_a_group_without_subnets_is_known_by_its_uuid_and_goes(world: World) -> None:
    """Load_Balancer_Group has no column for a label."""
    ours, theirs = RowKey("Load_Balancer_Group", "cluster-gone"), RowKey("Load_Balancer_Group", "cluster-foreign")
    world.database.commit([
        Insert(ours.table, row_uuid(ours, CLUSTER), {"name": ours.key}), Insert(theirs.table, row_uuid(theirs), {"name": theirs.key}),
    ])  # fmt: skip
    assert list(owned_strays(world.engine.store, world.database.replica, set(), {"service/x"}, CLUSTER)) == []
    other = world.restarted()
    assert set(other.rows("Load_Balancer_Group")) == {"cluster-ovn-cluster", "cluster-foreign"}


def test_a_foreign_group_of_our_name_is_not_taken(world: World) -> None:
    theirs = RowKey("Load_Balancer_Group", "cluster-blue")
    world.database.commit([Insert(theirs.table, row_uuid(theirs), {"name": theirs.key})])
    world.apply({"apiVersion": "kubeovn.io/v1", "kind": "Vpc", "metadata": {"name": "blue"}, "spec": {}})
    world.apply(
        {"apiVersion": "kubeovn.io/v1", "kind": "Subnet", "metadata": {"name": "s"}, "spec": {"vpc": "blue", "cidrBlock": "10.9.0.0/24"}}
    )
    assert any("Load_Balancer_Group/cluster-blue exists and belongs to somebody else" in f.sentence for f in world.failures)
    world.delete(SUBNETS, "s")
    assert "cluster-blue" in world.rows("Load_Balancer_Group")


def test_a_changed_row_is_repaired(world: World) -> None:
    world.apply(service(), piece(endpoint("10.16.0.9")))
    key = RowKey("Load_Balancer", "default/web:tcp")
    uuid = world.database.replica.by_key(key)
    assert uuid
    world.database.commit([Mutate(key.table, uuid, "vips", insert={"10.96.0.99:1": "10.16.0.1:1"}, delete=("10.96.0.10:80",))])
    world.engine.observe(key)
    world.settle()
    assert vips(world) == {"10.96.0.10:80": "10.16.0.9:8080"}
    world.database.commit([Delete(key.table, uuid)])
    world.engine.observe(key)
    world.settle()
    assert vips(world) == {"10.96.0.10:80": "10.16.0.9:8080"}
    assert world.get(SERVICES, "web", "default")
