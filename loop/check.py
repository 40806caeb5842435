"""Files on disk held against the sanity rules, as ingest does it, with nothing written anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loop.config import IngestConfig
from recordings.discovery import group_keys
from recordings.open import open_recording
from recordings.prepare import prepare
from recordings.recording import ASSUMED_POSES, Damage, Recording, Topic, losses
from recordings.rules.content_rules import duplicate_findings
from recordings.rules.fingerprint import resemblance
from recordings.rules.quality import Facts, QualityCheck
from recordings.rules.rule import Finding
from scene.errors import DataError
from scene.recording import RecordingId

# Called with the sweeps read so far and how many there are, -1 where that is not known.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Upload:
    """One recording among the files at a path.

    Attributes:
        path: its file or folder.
        name: what ingest would call it.
        part: which recording, where the folder holds several.
    """

    path: Path
    name: RecordingId
    part: str = ""


@dataclass(slots=True)
class Checked:
    """What one recording holds and what is wrong with it.

    Attributes:
        unreadable: why no reader could open it; empty if one could.
        num_poses: ego poses; 0 where they had to be assumed.
        num_boxes: ground-truth boxes.
        images: number of images by camera.
        signals: number of samples by signal.
        damage: what could not be read.
        findings: of the sanity rules, errors first.
    """

    name: str
    path: str
    part: str = ""
    format: str = ""
    sensor: str = ""
    motion: str = ""
    unreadable: str = ""
    num_sweeps: int = 0
    num_points: int = 0
    start_ns: int = 0
    end_ns: int = 0
    num_poses: int = 0
    num_boxes: int = 0
    images: dict[str, int] = field(default_factory=dict)
    signals: dict[str, int] = field(default_factory=dict)
    topics: list[Topic] = field(default_factory=list)
    damage: list[Damage] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    fingerprint: tuple[int, ...] = ()

    @property
    def verdict(self) -> str:
        """`unreadable`, `error` (ingest would quarantine it), `warning` or `clean`."""
        if self.unreadable:
            return "unreadable"
        if self.damage or any(finding.severity == "error" for finding in self.findings):
            return "error"
        return "warning" if self.findings else "clean"


def uploads_at(path: Path) -> list[Upload]:
    """Return the recordings that ingest would find at a file or folder."""
    if path.is_file():
        return [Upload(path, RecordingId.from_text(path.stem))]
    stats = [
        (file.relative_to(path).as_posix(), file.stat().st_size, "")
        for file in sorted(path.rglob("*"))
        if file.is_file()
    ]
    sources = group_keys(stats, lambda key: (path / key).read_bytes())
    if not sources:  # opening it says why
        return [Upload(path, RecordingId.from_text(path.resolve().name))]
    if any(not source.prefix for source in sources):  # the folder is a recording itself
        sources = [source for source in sources if not source.prefix]
    return [
        Upload(
            path / source.prefix if source.prefix else path,
            source.name if source.prefix else RecordingId.from_text(_name(path, source.part)),
            source.part,
        )
        for source in sources
    ]


def check_uploads(
    uploads: Sequence[Upload], config: IngestConfig, progress: Callable[[Upload], Progress]
) -> Iterator[Checked]:
    """Check one recording after the other, also against those before it."""
    seen: dict[str, Checked] = {}
    for upload in uploads:
        checked = check_upload(upload, config, progress(upload))
        words = checked.fingerprint
        shares = resemblance(words, {name: other.fingerprint for name, other in seen.items()})
        size = (checked.num_sweeps, checked.num_points)
        copies = {
            name
            for name, share in shares.items()
            if share == 1 and (seen[name].num_sweeps, seen[name].num_points) == size
        }
        checked.findings += duplicate_findings(shares, copies)
        seen[checked.name] = checked
        yield checked


def check_upload(upload: Upload, config: IngestConfig, progress: Progress) -> Checked:
    """Read a recording from end to end and run all rules that need no other recording."""
    checked = Checked(str(upload.name), str(upload.path), upload.part)
    try:
        opened = open_recording(upload.path, upload.name, upload.part)
        opened = prepare(opened, config.deskew, config.odometry)
        _read(opened, checked, progress)
    except (DataError, OSError) as error:
        checked.unreadable = str(error)
    return checked


def _read(opened: Recording, checked: Checked, progress: Progress) -> None:
    check = QualityCheck(Facts.of(opened))
    truth = opened.ground_truth or {}
    total = sum(topic.count for topic in opened.topics if topic.use == "sweeps") or -1
    times: list[int] = []
    for sweep in opened.sweeps():
        check.add(sweep, truth.get(sweep.timestamp_ns))
        times.append(sweep.timestamp_ns)
        checked.num_points += len(sweep)
        progress(len(times), total)
    for image in opened.images():
        check.add_image(image.sensor, image.timestamp_ns)
        checked.images[image.sensor] = checked.images.get(image.sensor, 0) + 1
    checked.num_sweeps = len(times)
    if not times:  # without a lidar, poses and signals say how long it is
        series = [opened.trajectory.timestamps_ns, *(s.timestamps_ns for s in opened.signals)]
        times = [int(time) for one in series if len(one) for time in (one[0], one[-1])]
    checked.format, checked.sensor, checked.motion = opened.format, opened.sensor, opened.motion
    checked.start_ns, checked.end_ns = min(times, default=0), max(times, default=0)
    assumed = ASSUMED_POSES in opened.calibration.assumed
    checked.num_poses = 0 if assumed else len(opened.trajectory)
    checked.num_boxes = sum(len(boxes) for boxes in truth.values())
    checked.signals = {signal.name: len(signal.timestamps_ns) for signal in opened.signals}
    checked.topics, checked.damage = list(opened.topics), losses(opened.damage)
    checked.findings = check.finish(opened.damage)
    checked.fingerprint = check.fingerprint


def _name(path: Path, part: str) -> str:
    return path.resolve().name + (f"_{part}" if part else "")
