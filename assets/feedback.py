"""What the turn learned, and the page that tells it."""

import dagster as dg

from assets.metadata import table
from assets.release import deployment
from loop.feedback import give_feedback
from loop.report import write_report
from loop.turns import current_turn
from loop.workspace import Workspace


@dg.asset(
    deps=[deployment],
    group_name="feedback",
    kinds={"delta"},
    description="Weak slices and failed scenarios become issues; issues choose the next frames.",
)
def feedback(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Update the ledger of known weaknesses."""
    outcome = give_feedback(workspace, current_turn(workspace))
    rows = [
        {
            "issue": issue.title,
            "state": issue.state,
            "asks_for_frames": len(outcome.next_frames.get(issue.issue_id, [])),
        }
        for issue in outcome.issues
    ]
    return dg.MaterializeResult(
        metadata={
            "open_issues": sum(issue.state == "open" for issue in outcome.issues),
            "simulated_frames": outcome.simulated_frames,
            "issues": table(rows, limit=30),
        }
    )


@dg.asset(
    deps=[feedback],
    group_name="feedback",
    kinds={"html"},
    description="One page about the turn: what went in, what moved, what the gate said and why.",
)
def report(workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
    """Write the report as HTML and Markdown, and close the turn."""
    written = write_report(workspace, current_turn(workspace))
    return dg.MaterializeResult(
        metadata={
            "report": dg.MetadataValue.md(written.markdown),
            "html": f"{workspace.store.url}/{written.html_key}",
        }
    )
