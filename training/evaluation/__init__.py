"""nuScenes detection metrics with bootstrap intervals. Numpy and numba only, never torch."""

from training.evaluation.bootstrap import Comparison, Delta, compare
from training.evaluation.matching import EvalFrame, Region
from training.evaluation.metrics import CategoryScore, Evaluation, evaluate
from training.evaluation.resampling import Interval
from training.evaluation.slices import score_slices

__all__ = [
    "CategoryScore",
    "Comparison",
    "Delta",
    "EvalFrame",
    "Evaluation",
    "Interval",
    "Region",
    "compare",
    "evaluate",
    "score_slices",
]
