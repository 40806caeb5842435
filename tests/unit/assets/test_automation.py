"""Facts about Dagster's automation that the loop depends on, run against the real engine."""

import dagster as dg
import pytest

from assets.automation import ON_NEW_DATA, PER_RECORDING
from assets.partitions import RECORDINGS


def make(condition: dg.AutomationCondition, *, fan_in: bool = False) -> dg.Definitions:
    @dg.asset(
        partitions_def=RECORDINGS,
        check_specs=[
            dg.AssetCheckSpec("fit", asset="parent", blocking=True, partitions_def=RECORDINGS)
        ],
    )
    def parent(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        passed = context.partition_key != "bad"
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(check_name="fit", passed=passed)]
        )

    @dg.asset(
        deps=[parent],
        partitions_def=None if fan_in else RECORDINGS,
        automation_condition=condition,
    )
    def child() -> None: ...

    return dg.Definitions(assets=[parent, child])


def requested(
    definitions: dg.Definitions, instance: dg.DagsterInstance, materialized: list[str]
) -> set[str | None]:
    """Return which partitions of the child are requested after the parents were materialised."""
    before = dg.evaluate_automation_conditions(defs=definitions, instance=instance)
    job = definitions.resolve_implicit_global_asset_job_def()
    for key in materialized:
        job.execute_in_process(
            instance=instance,
            partition_key=key,
            asset_selection=[dg.AssetKey("parent")],
            raise_on_error=False,
        )
    after = dg.evaluate_automation_conditions(
        defs=definitions, instance=instance, cursor=before.cursor
    )
    result = next(r for r in after.results if r.key == dg.AssetKey("child"))
    return {p.partition_key for p in result.true_subset.expensively_compute_asset_partitions()}


@pytest.fixture
def instance() -> dg.DagsterInstance:
    instance = dg.DagsterInstance.ephemeral()
    instance.add_dynamic_partitions("recordings", ["good", "bad", "later"])
    return instance


@pytest.mark.slow
def test_plain_eager_ignores_a_failed_blocking_check(instance: dg.DagsterInstance) -> None:
    eager = make(dg.AutomationCondition.eager())
    assert requested(eager, instance, ["good", "bad"]) == {"good", "bad"}


def test_ours_requests_only_what_passed_its_blocking_checks(instance: dg.DagsterInstance) -> None:
    assert requested(make(PER_RECORDING), instance, ["good", "bad"]) == {"good"}


def test_eager_fan_in_waits_for_ever_while_one_recording_is_missing(
    instance: dg.DagsterInstance,
) -> None:
    eager = make(dg.AutomationCondition.eager(), fan_in=True)
    assert requested(eager, instance, ["good"]) == set()


def test_ours_fans_in_over_what_is_there(instance: dg.DagsterInstance) -> None:
    assert requested(make(ON_NEW_DATA, fan_in=True), instance, ["good"]) == {None}
