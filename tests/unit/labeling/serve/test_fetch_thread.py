import threading

from labeling.clip_backend import PullReport
from labeling.serve.webhook import FetchThread
from scene.errors import StoreError


class Backend:
    """Fails twice: the server is away, then something that nobody thought of."""

    def __init__(self):
        self.errors = [StoreError("away"), RuntimeError("never seen before")]
        self.asked = []
        self.fetched = threading.Event()

    def fetch(self, *, full=False):
        self.asked.append(full)
        if self.errors:
            raise self.errors.pop(0)
        self.fetched.set()
        return PullReport(0, 0, {})


def test_no_error_ends_the_fetching():
    backend = Backend()
    fetching = FetchThread(backend, interval_s=0.01)
    fetching.start()
    try:
        assert backend.fetched.wait(60)
    finally:
        fetching.stop()
    assert backend.asked[:3] == [True, True, True]  # the first that succeeds looks at everything
