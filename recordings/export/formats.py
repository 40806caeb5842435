"""The formats that can be written, as a table; a writer's module is imported when it is used."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from recordings.export.writer import Writer
from recordings.recording import Recording
from scene.errors import ConfigError


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """One format.

    Attributes:
        name: what `--to` takes.
        title: what a person calls it.
        writer: "module:class" of a `recordings.export.writer.Writer`.
        extra: what to install for it, empty if it needs nothing more: a package and the extra.
    """

    name: str
    title: str
    writer: str
    extra: tuple[str, str] | tuple[()] = ()

    def start(self, folder: Path, recording: Recording) -> Writer:
        """Return a writer into an empty folder.

        Raises:
            ConfigError: if a package that the format needs is not installed.
        """
        module, _, name = self.writer.partition(":")
        try:
            make = getattr(importlib.import_module(module), name)
            return make(folder, recording)
        except ModuleNotFoundError as error:
            if not self.extra or error.name != self.extra[0]:
                raise
            raise ConfigError(
                f"writing {self.title} needs the package {error.name}: "
                f"pip install 'starloop[{self.extra[1]}]'"
            ) from error


EXPORT_FORMATS: Final = {
    known.name: known
    for known in (
        ExportFormat("mcap", "ROS 2 MCAP", "recordings.export.mcap:McapWriter"),
        ExportFormat("pcd", "PCD files with poses and boxes", "recordings.export.pcd:PcdWriter"),
        ExportFormat(
            "las", "LAS files with poses and boxes", "recordings.export.las:LasWriter",
            ("laspy", "las"),
        ),
        ExportFormat("kitti", "KITTI tracking layout", "recordings.export.kitti:KittiWriter"),
        ExportFormat(
            "nuscenes", "nuScenes data set of one scene",
            "recordings.export.nuscenes:NuScenesWriter",
        ),
        ExportFormat("av2", "Argoverse 2 sensor log", "recordings.export.av2:Argoverse2Writer"),
        ExportFormat(
            "openlabel", "ASAM OpenLABEL 1.0 with PCD files",
            "recordings.export.openlabel:OpenLabelWriter",
        ),
        ExportFormat(
            "rerun", "Rerun recording (.rrd)", "recordings.export.rerun:RerunWriter",
            ("rerun", "rerun"),
        ),
    )
}  # fmt: skip
