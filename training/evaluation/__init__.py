"""Detection metrics of nuScenes, with bootstrap intervals, and of Argoverse 2. Never torch."""

from training.evaluation.argoverse import ArgoverseEvaluation, ArgoverseScore, evaluate_argoverse
from training.evaluation.bootstrap import Comparison, Delta, compare
from training.evaluation.conditions import ConditionScore, score_conditions
from training.evaluation.matching import EvalFrame, Region
from training.evaluation.metrics import CategoryScore, Evaluation, evaluate
from training.evaluation.resampling import Interval, share_not_better
from training.evaluation.slices import score_slices

__all__ = [
    "ArgoverseEvaluation",
    "ArgoverseScore",
    "CategoryScore",
    "Comparison",
    "ConditionScore",
    "Delta",
    "EvalFrame",
    "Evaluation",
    "Interval",
    "Region",
    "compare",
    "evaluate",
    "evaluate_argoverse",
    "score_conditions",
    "score_slices",
    "share_not_better",
]
