import torch  # noqa: TID253

from storage.local import LocalStore
from training.checkpoint import (
    Checkpoint,
    delete_checkpoints,
    newest_checkpoint,
    save_checkpoint,
)


def checkpoint(step):
    return Checkpoint(step, {"net.a": torch.full((3,), float(step))}, {"loss_curve": [[1, 0.5]]})


def test_newest_is_found_and_old_ones_go(tmp_path):
    store = LocalStore(tmp_path)
    assert newest_checkpoint(store, "m-1") is None
    for step in (10, 20, 30, 100):
        save_checkpoint(store, "m-1", checkpoint(step))
    save_checkpoint(store, "m-2", checkpoint(999))
    found = newest_checkpoint(store, "m-1")
    assert found is not None
    assert found.step == 100
    assert found.tensors["net.a"].tolist() == [100.0] * 3
    assert found.progress == {"loss_curve": [[1, 0.5]]}
    assert len(list(store.list("checkpoints/m-1/"))) == 2
    delete_checkpoints(store, "m-1")
    assert newest_checkpoint(store, "m-1") is None
    assert newest_checkpoint(store, "m-2") is not None


def test_a_damaged_checkpoint_is_passed_over(tmp_path, caplog):
    store = LocalStore(tmp_path)
    save_checkpoint(store, "m-1", checkpoint(10))
    key = save_checkpoint(store, "m-1", checkpoint(20))
    whole = store.get(key)
    other = [len(text).to_bytes(8, "little") + text for text in (b"[]", b'{"__metadata__": null}')]
    for damaged in (b"", b"text", whole[:40], whole[:-4], b"\xff" * len(whole), *other):
        store.put(key, damaged)
        found = newest_checkpoint(store, "m-1")
        assert found is not None
        assert found.step == 10, damaged[:20]
    assert "cannot be read" in caplog.text
