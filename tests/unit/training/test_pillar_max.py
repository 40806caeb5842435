import numpy as np
import pytest
import torch  # noqa: TID253

from tests.support.devices import DEVICES, open_device
from training import pillar_loops
from training.pillar_max import pillar_max, tall_product


def example(device, channels, columns, seed=0):
    torch.manual_seed(seed)
    size, count = 40, 700
    described = torch.randn(count, columns)
    described[::7] = described[0]  # copies tie
    pillar = torch.randint(0, size + 1, (count,))
    pillar[::7] = 3
    pillar[pillar == 9] = 10  # an empty one
    weight, shift = torch.randn(channels, columns), torch.randn(channels)
    shift[2] = -50.0  # never answers
    return [t.to(device) for t in (described, weight, shift, pillar)], size


def by_hand(described, weight, shift, pillar, size, upstream):
    """Largest answers and gradients in float64, pillar by pillar."""
    described, weight, shift, upstream = (
        t.double().cpu().numpy() for t in (described, weight, shift, upstream)
    )
    pillar = pillar.cpu().numpy()
    found, of_weight, of_shift = np.zeros((size, len(weight))), 0 * weight, 0 * shift
    for number in np.unique(pillar[pillar < size]):
        mine = described[pillar == number]
        answers = mine @ weight.T + shift
        top = answers.max(axis=0)
        found[number] = np.maximum(top, 0)
        won = (answers >= top - 1e-5) & (top > 0)
        of_weight += (won * upstream[number]).T @ mine
        of_shift += (won * upstream[number]).sum(axis=0)
    return found, of_weight, of_shift


def check(device, channels, columns, dtype=torch.float32):
    (described, weight, shift, pillar), size = example(device, channels, columns)
    weight.requires_grad_()
    shift.requires_grad_()
    upstream = torch.randn(size, channels, device=device).to(dtype)
    found = pillar_max(described, weight, shift, pillar, size, dtype)
    assert found.dtype == dtype
    found.backward(upstream)
    expected = by_hand(described, weight.detach(), shift.detach(), pillar, size, upstream.float())
    with torch.no_grad():
        assert torch.equal(pillar_max(described, weight, shift, pillar, size, dtype), found)
    for one, other in zip((found, weight.grad, shift.grad), expected, strict=True):
        loose = 1e-2 if dtype == torch.bfloat16 and one is found else 1e-4
        np.testing.assert_allclose(one.detach().float().cpu(), other, rtol=loose, atol=loose)


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_largest_answers_and_gradients_equal_a_plain_loop_in_float64(name, dtype):
    check(open_device(name), 16, 9, dtype)
    check(open_device(name), 64, 10, dtype)
    check(open_device(name), 12, 10, dtype)  # a width that has no fused loop


def test_fused_loops_equal_a_plain_loop_in_float64(monkeypatch):
    knobs = pytest.importorskip("triton").knobs
    if not knobs.runtime.interpret:
        pytest.skip("needs TRITON_INTERPRET=1 from the start of the process")
    monkeypatch.setattr(pillar_loops, "ON_PROCESSOR", True)
    assert pillar_loops.fit(torch.zeros(1, 10), torch.zeros(64, 10))
    for dtype in (torch.float32, torch.bfloat16):
        check(torch.device("cpu"), 16, 9, dtype)
        check(torch.device("cpu"), 64, 10, dtype)


@pytest.mark.parametrize("name", DEVICES)
def test_tall_products_equal_plain_ones(name):
    device = open_device(name)
    for count in (50, 6000):
        one, other = (torch.randn(count, n, device=device).double() for n in (3, 5))
        torch.testing.assert_close(tall_product(one, other), one.t() @ other)
