"""What every step of the loop works on: the bucket, its tables, and the landing place."""

from __future__ import annotations

from dataclasses import dataclass, field

from labeling.backend import LabelBackend
from labeling.clip_backend import ClipBackend, EditorClips
from labeling.clip_store import ClipStore
from labeling.embedded import EmbeddedBackend
from loop.config import IngestConfig, LabelingConfig, LoopConfig
from storage.open import StoreConfig, open_store
from storage.store import ObjectStore
from storage.tables import Tables


@dataclass(frozen=True)
class Workspace:
    """Open handles on one team's data.

    Attributes:
        store_config: how another process opens the same bucket.
        store: the bucket.
        landing: where vehicles and robots drop recordings.
        tables: the Delta tables of the bucket.
        config: policies of the loop.
        labeling: which labelling backend to use.
        landing_prefix: look only at landed objects below this key.
        ingest: what is done to recordings on their way in.
    """

    store_config: StoreConfig
    store: ObjectStore
    landing: ObjectStore
    tables: Tables
    config: LoopConfig = field(default_factory=LoopConfig)
    labeling: LabelingConfig = field(default_factory=LabelingConfig)
    landing_prefix: str = ""
    ingest: IngestConfig = field(default_factory=IngestConfig)

    @classmethod
    def open(
        cls,
        store: StoreConfig,
        landing: StoreConfig,
        config: LoopConfig | None = None,
        labeling: LabelingConfig | None = None,
        landing_prefix: str = "",
        ingest: IngestConfig | None = None,
    ) -> Workspace:
        """Open (and create where missing) the bucket and the landing place."""
        opened = open_store(store)
        return cls(
            store,
            opened,
            open_store(landing),
            Tables(opened),
            config or LoopConfig(),
            labeling or LabelingConfig(),
            landing_prefix,
            ingest or IngestConfig(),
        )

    def clip_backend(self) -> ClipBackend:
        """Return where people label clips: Label Studio, or our own editor alone."""
        clips = ClipStore(self.store)
        if self.labeling.backend != "label_studio":
            return EditorClips(clips)
        from labeling.label_studio_clips import LabelStudioClips

        return LabelStudioClips(
            self.labeling.url, self.labeling.api_key, clips, f"{self.labeling.project} 3D"
        )

    @property
    def people_label(self) -> bool:
        """Whether selected frames go to people, and not to the recordings' own ground truth."""
        return self.labeling.backend != "embedded" or self.labels_clips

    @property
    def labels_clips(self) -> bool:
        """Whether people are given clips in the 3D editor, and not pictures from above."""
        return self.labeling.mode == "cuboids"

    def label_place(self) -> LabelBackend | ClipBackend:
        """Return where selected frames are labelled; it has a name and a note for reports."""
        return self.clip_backend() if self.labels_clips else self.label_backend()

    def label_backend(self, *, count_points: bool = True) -> LabelBackend:
        """Return the labelling backend that the settings name.

        Args:
            count_points: count the points in boxes of answers, which reads sweeps.
        """
        if self.labeling.backend == "embedded":
            return EmbeddedBackend(self.tables)
        from labeling.label_studio import LabelStudioBackend

        return LabelStudioBackend(
            url=self.labeling.url,
            api_key=self.labeling.api_key,
            project_title=self.labeling.project,
            store=self.store if count_points else None,
        )
