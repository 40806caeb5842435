"""How good the candidate is: on held-out drives, and behind the wheel in simulation."""

import dagster as dg

from assets.metadata import picture, table
from assets.train import detector
from loop.evaluate import Measured, evaluate_model
from loop.evaluation_pictures import PICTURES
from loop.simulate import simulate_model
from loop.turns import current_turn, latest_dataset, latest_model
from loop.workspace import Workspace
from storage import layout


@dg.asset(
    deps=[detector],
    group_name="train",
    kinds={"numpy"},
    description="nuScenes metrics on held-out drives, by class and range, with 95 % intervals.",
)
def evaluation(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Measure the newest model on the newest dataset's held-out frames."""
    model, data = latest_model(workspace), latest_dataset(workspace)
    measured = evaluate_model(workspace, model, data, current_turn(workspace))
    figures = measured.evaluation.headline()
    rows = [
        {"metric": name, "value": f"{i.value:.3f}", "95 %": f"{i.low:.3f} – {i.high:.3f}"}
        for name, i in figures.items()
    ]
    return dg.MaterializeResult(
        metadata={
            "model": model,
            "mAP": figures["mAP"].value,
            "NDS": figures["NDS"].value,
            "metrics": table(rows),
            "mistakes": table(_mistakes(measured)),
            **{
                name: picture(
                    workspace.store, layout.evaluation_picture(model, data, name), caption
                )
                for name, caption in PICTURES.items()
            },
        }
    )


def _mistakes(measured: Measured) -> list[dict[str, object]]:
    """Return a row for each kind of mistake: how many, and what mAP would gain without them."""
    cost, count = measured.mistakes.get("cost", {}), measured.mistakes.get("count", {})
    return [
        {"kind": kind, "count": count[kind], "mAP gained": f"{value:+.3f}"}
        for kind, value in cost.items()
    ]


@dg.asset(
    deps=[detector],
    group_name="simulate",
    kinds={"numpy"},
    description="The exported model drives the scenario suite; it sees only simulated points.",
)
def simulation(
    context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
) -> dg.MaterializeResult:
    """Drive every scenario with the newest model."""
    model = latest_model(workspace)
    outcome = simulate_model(workspace, model, current_turn(workspace), context.log.info)
    names = ("scenario", "verdict", "collision", "min_ttc_s", "ground_truth_passes")
    rows = [{name: scenario[name] for name in names} for scenario in outcome.scenarios]
    return dg.MaterializeResult(
        metadata={
            "model": model,
            "collisions": sum(bool(row["collision"]) for row in rows),
            "verdicts": table(rows),
        }
    )
