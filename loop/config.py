"""Policies of the loop. The settings make one; nothing here reads the environment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelingConfig:
    """Which labelling backend, and how to reach it.

    Attributes:
        backend: `embedded` (the recording's own ground truth) or `label_studio`.
        url: address of the Label Studio server.
        api_key: its access token.
        project: title of the Label Studio project.
        mode: `rectangles` (one frame from above, quick review) or `cuboids` (clips in the 3D
            editor); each has a project of its own.
        honeypot_share: frames with a known answer that are hidden among the others, for each frame
            to label; none where nobody is asked.
        overlap_share: part of the tasks that two people are asked about.
    """

    backend: str = "embedded"
    url: str = ""
    api_key: str = field(default="", repr=False)
    project: str = "starloop"
    mode: str = "rectangles"
    honeypot_share: float = 0.03
    overlap_share: float = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """What is done to recordings on their way into the bucket.

    Attributes:
        deskew: `auto` takes the ego motion out of sweeps that their source calls raw, `always` also
            out of those of which nothing is said, `never` stores them as they came.
        odometry: `auto` finds the ego poses from the points where a recording holds none and the
            package for it is installed, `never` takes the vehicle to stand still.
        workers: threads that decompress and encode for one recording; 0 means one per core.
    """

    deskew: Literal["auto", "never", "always"] = "auto"
    odometry: Literal["auto", "never"] = "auto"
    workers: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class LoopConfig:
    """How much to label, how to split, what to train and what the gate asks.

    Attributes:
        bootstrap_frames: frames of the first labelled set, from the earliest recordings.
        label_budget: frames to label in each later turn.
        control_share: part of the budget chosen at random, to prove what mining saves.
        test_share: part of the recordings held out for evaluation, by hash of their names.
        evaluation_stride: every how many-th frame of a held-out recording is evaluated on.
        min_gap_s: least time between two frames chosen for labelling in one recording.
        categories: detection categories of the model.
        recipe: training recipe, a function name in `training.config`.
        iterations: training iterations of a first model; 0 means the recipe's own number.
        finetune_iterations: iterations of a turn that starts from the champion; 0 as above.
        num_threads: threads of training and inference; 0 means one per core.
        shards: parts of every batch, which workers of a training share; part of the model's name.
            0 means as many as the workers need; with a number, other numbers of workers that
            divide it make the same model.
        memory_bytes: a dataset whose points fit is kept in memory by the training.
        cache_folder: where the training keeps frames of a larger one; empty for nowhere.
        cache_bytes: what they may take there.
        scenario_seed: seed of the simulated scenarios.
        max_ap_drop: largest fall in a category's AP that the gate tolerates, however uncertain.
        tolerated_ap_drop: a certain fall up to this passes: the bootstrap knows how frames vary,
            not how two trainings on the same data vary.
        seed: of selection and training.
    """

    bootstrap_frames: int = 48
    label_budget: int = 32
    control_share: float = 0.15
    test_share: float = 0.34
    evaluation_stride: int = 2
    min_gap_s: float = 0.6
    categories: tuple[str, ...] = ("car", "truck", "pedestrian", "bicycle")
    recipe: str = "demo"
    iterations: int = 0
    finetune_iterations: int = 0
    num_threads: int = 0
    shards: int = 0
    memory_bytes: int = 1 << 30
    cache_folder: str = ""
    cache_bytes: int = 64 << 30
    scenario_seed: int = 0
    max_ap_drop: float = 0.10
    tolerated_ap_drop: float = 0.02
    seed: int = 7
