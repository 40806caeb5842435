"""The champion, loaded: replaced by a new one as soon as there is one, without a restart."""

from __future__ import annotations

import logging
import threading
import time

from scene.errors import FormatError, NotFoundError, StarloopError, StoreError
from serving.detector import OnnxDetector
from serving.registry import CHAMPION, Registry, Release
from storage import layout
from storage.store import ObjectStore

logger = logging.getLogger(__name__)


class UnavailableError(StoreError):
    """There is no model to answer with: none was released, or its files are damaged."""


class Champion:
    """Loads the champion on demand and looks for a new one now and then.

    Args:
        store: where models and releases are.
        refresh_s: look at the alias at most this often; 0 looks at every call.
        num_threads: CPU threads of one inference.
    """

    def __init__(self, store: ObjectStore, *, refresh_s: float, num_threads: int) -> None:
        self._store = store
        self._registry = Registry(store)
        self._refresh_s = refresh_s
        self._num_threads = num_threads
        self._lock = threading.Lock()
        self._looked_at = float("-inf")
        self._etag = ""
        self._trouble = ""
        self._detector: OnnxDetector | None = None

    def detector(self) -> OnnxDetector:
        """Return the champion's detector.

        If a new champion cannot be loaded, the old one goes on and an error is logged.

        Raises:
            UnavailableError: if no model was released yet, or the released one cannot be loaded
                and there is no older one to go on with.
        """
        with self._lock:
            if time.monotonic() - self._looked_at >= self._refresh_s:
                self._refresh()
                self._looked_at = time.monotonic()
            if self._detector is None:
                raise UnavailableError(f"no model to answer with: {self._trouble}")
            return self._detector

    def _refresh(self) -> None:
        released = False
        try:
            etag = self._store.stat(layout.release_alias(CHAMPION)).etag
            if etag == self._etag:
                return
            released = True
            self._detector = self._load()
            self._etag = etag
        except StarloopError as error:
            none_yet = isinstance(error, NotFoundError) and not released
            self._complain("the gate has approved none yet" if none_yet else str(error), error)

    def _complain(self, trouble: str, error: StarloopError) -> None:
        self._trouble = trouble
        serving = self._detector.model_id if self._detector else "no model"
        logger.warning("cannot load the champion, %s goes on serving: %s", serving, error)

    def _load(self) -> OnnxDetector:
        release = self._registry.champion()
        if release is None:
            raise NotFoundError(f"{layout.release_alias(CHAMPION)}: no release in it")
        now = self._detector
        # The same graph under another name may have another threshold and other categories.
        if now and (now.model_id, now.digest) == (release.model_id, release.onnx_digest):
            return now
        detector = OnnxDetector.load(self._store, release.model_id, num_threads=self._num_threads)
        _check(detector, release)
        logger.info("serving champion %s, digest %s", release.model_id, detector.digest[:12])
        return detector


def _check(detector: OnnxDetector, release: Release) -> None:
    if detector.digest != release.onnx_digest:
        raise FormatError(
            f"model {release.model_id}: released with digest {release.onnx_digest[:12]}, the file "
            f"has {detector.digest[:12]}; it is not served"
        )
