"""Facts as bytes, and what this version does not know."""

from __future__ import annotations

import pytest

from perdure.entity.entity_type import UnknownRowError
from perdure.entity.transition import FactChange
from perdure.history.entity_types import RUNS
from perdure.history.state.facts import FACT_TYPES, CreateFact, FactKind
from perdure.server.common.codec import decode_fact, encode_fact
from perdure.server.common.namespace_facts import NAMESPACE, NAMESPACES, NamespaceFact
from perdure.storage.port import FactRow
from perdure.wire import errors
from tests.unit.server.world import World


def test_a_fact_comes_back_as_it_went():
    create = FactChange(FactKind.CREATE, "", CreateFact("id"))
    assert decode_fact(RUNS, encode_fact(create)) == create
    fact = NamespaceFact(namespace_id="n", name="x", data={"a": "b"})
    namespace = FactChange(NAMESPACE, "", fact)
    assert decode_fact(NAMESPACES, encode_fact(namespace)) == namespace
    assert encode_fact(FactChange(FactKind.CREATE, "k", None)) == FactRow(1, "k", None)


def test_every_kind_of_fact_of_a_run_has_its_struct():
    assert set(FACT_TYPES) == set(FactKind)


def test_a_number_means_something_to_its_own_kind_of_entity_only():
    row = encode_fact(FactChange(NAMESPACE, "", NamespaceFact(namespace_id="n", name="x")))
    with pytest.raises(UnknownRowError, match="fact 10/ is of an unknown kind"):
        decode_fact(RUNS, row)


@pytest.mark.parametrize(
    "row",
    [FactRow(999, "", b"\x01\x80"), FactRow(1, "", b"\x02\x80"), FactRow(1, "", None)],
)
def test_what_a_newer_version_wrote_is_refused(row: FactRow):
    with pytest.raises(UnknownRowError, match="newer version"):
        decode_fact(RUNS, row)


async def test_a_run_of_a_newer_version_is_refused_and_the_node_goes_on(world: World):
    strange, other = await world.start("strange"), await world.start("other")
    world.forget(strange)
    world.faults.inner.writing.execute(
        "INSERT INTO facts SELECT number, 999, '', x'01' FROM entities WHERE run_id = ?",
        (strange.run_id,),
    )
    with pytest.raises(errors.FailedPrecondition, match="newer version"):
        await world.signal("strange")
    await world.signal("other")
    await world.check_memory(other)
