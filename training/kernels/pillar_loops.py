"""Inner loops of `training.pillar_loops`, for devices that Triton compiles for."""

# No `from __future__ import annotations`: Triton reads them.
import triton  # pyright: ignore[reportMissingImports]
import triton.language as tl  # pyright: ignore[reportMissingImports]


@triton.jit
def raise_to_largest(  # pragma: no cover - compiled
    described, weight, shift, pillar, canvas, count, size,
    num_columns: tl.constexpr, channels: tl.constexpr, block_rows: tl.constexpr,
):  # fmt: skip
    """Raise pillars to the answers of a block of points; see `training.pillar_loops`."""
    rows = tl.program_id(0).to(tl.int64) * block_rows + tl.arange(0, block_rows)
    lanes = tl.arange(0, channels)
    place = tl.load(pillar + rows, mask=rows < count, other=size)
    known = place < size
    answer = tl.zeros((block_rows, channels), tl.float32) + tl.load(shift + lanes)[None, :]
    for d in tl.static_range(num_columns):
        value = tl.load(described + rows * num_columns + d, mask=known, other=0.0)
        answer += value[:, None] * tl.load(weight + lanes * num_columns + d)[None, :]
    # Positive numbers are in the order of their bits.
    tl.atomic_max(
        canvas + place[:, None] * channels + lanes[None, :],
        answer.to(tl.int32, bitcast=True),
        mask=known[:, None] & (answer > 0.0),
        sem="relaxed",
    )


@triton.jit
def learn(  # pragma: no cover - compiled
    described, weight, shift, pillar, canvas, upstream, sums, count, size, steps,
    num_columns: tl.constexpr, channels: tl.constexpr, width: tl.constexpr,
    block_rows: tl.constexpr, near: tl.constexpr,
):  # fmt: skip
    """Write the sums of one program; see `training.pillar_loops`."""
    lanes, columns = tl.arange(0, channels), tl.arange(0, width)
    bias = tl.load(shift + lanes)
    total = tl.zeros((channels, width), tl.float32)
    for step in range(steps):
        number = step * tl.num_programs(0) + tl.program_id(0)
        rows = number.to(tl.int64) * block_rows + tl.arange(0, block_rows)
        place = tl.load(pillar + rows, mask=rows < count, other=size)
        known = place < size
        answer = tl.zeros((block_rows, channels), tl.float32) + bias[None, :]
        for d in tl.static_range(num_columns):
            value = tl.load(described + rows * num_columns + d, mask=known, other=0.0)
            answer += value[:, None] * tl.load(weight + lanes * num_columns + d)[None, :]
        cells = place[:, None] * channels + lanes[None, :]
        top = tl.load(canvas + cells, mask=known[:, None], other=0.0)
        won = (top > 0.0) & (answer >= top * (1.0 - near))
        share = tl.load(upstream + cells, mask=known[:, None] & won, other=0.0)
        values = tl.load(
            described + rows[:, None] * num_columns + columns[None, :],
            mask=known[:, None] & (columns < num_columns)[None, :],
            other=0.0,
        )
        values = tl.where((columns == num_columns)[None, :], 1.0, values)
        total += tl.dot(tl.trans(share.to(tl.float32)), values, input_precision="ieee")
    out = (tl.program_id(0) * channels + lanes[:, None]) * width + columns[None, :]
    tl.store(sums + out, total)
