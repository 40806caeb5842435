"""How good the candidate is: on held-out drives, and behind the wheel in simulation."""

import dagster as dg

from assets.metadata import figure, picture, table
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
    description="nuScenes metrics on held-out drives with 95 % intervals, also by class, range, "
    "points, visibility, speed, place, time and source.",
)
def evaluation(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Measure the newest model on the newest dataset's held-out frames."""
    model, data = latest_model(workspace), latest_dataset(workspace)
    measured = evaluate_model(workspace, model, data, current_turn(workspace))
    figures = measured.evaluation.headline()
    rows = [{"metric": name, "value (95 %)": figure(i)} for name, i in figures.items()]
    return dg.MaterializeResult(
        metadata={
            "model": model,
            "mAP": figures["mAP"].value,
            "NDS": figures["NDS"].value,
            "metrics": table(rows),
            "mistakes": table(_mistakes(measured)),
            "conditions": table(_conditions(measured), limit=40),
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


def _conditions(measured: Measured) -> list[dict[str, object]]:
    """Return a row for every condition, all categories together."""
    return [
        {
            "condition": f"{score.kind}: {score.value}",
            "AP": figure(score.ap),
            "found": figure(score.recall),
            "objects": score.num_boxes,
            "frames": score.num_frames,
        }
        for score in measured.conditions
        if not score.category
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
