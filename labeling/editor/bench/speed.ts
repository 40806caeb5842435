/**
 * How long the core takes on one sweep, in this process: `npm run speed -- FILE.slpc`.
 *
 * Prints medians of the CPU time of this process, which other work on the machine does not change.
 */
import { readFileSync } from "node:fs";
import { decodeSweep, SweepReader } from "../src/core/codec";
import { fitBox } from "../src/core/fit";
import { pointsInBox, type Shape } from "../src/core/geometry";
import { Model } from "../src/core/model";
import { fromYaw } from "../src/core/pose";
import { refit } from "../src/core/refit";
import { Effort } from "../src/core/stats";
import { indexOf, SweepIndex } from "../src/core/sweep-index";
import { placeBox } from "../src/core/tracks";
import type { Box, Category, Document, Vec3 } from "../src/core/types";
import { annotationOf } from "../src/core/wire";

const ROUNDS = 25;

/** Return the median CPU milliseconds of a call. */
function cost(call: () => unknown): number {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const before = process.cpuUsage();
    call();
    const { user, system } = process.cpuUsage(before);
    times.push((user + system) / 1000);
  }
  return times.sort((a, b) => a - b)[ROUNDS >> 1];
}

function report(what: string, ms: number, more = ""): void {
  process.stdout.write(`${what.padEnd(44)} ${ms.toFixed(1).padStart(7)} ms  ${more}\n`);
}

const CARS: Category[] = [
  { name: "car", color: "#000000", default_size_lwh_m: [4.6, 1.9, 1.7] },
  { name: "pedestrian", color: "#000000", default_size_lwh_m: [0.7, 0.7, 1.75] },
];

const bytes = new Uint8Array(readFileSync(process.argv[2]));
const sweep = decodeSweep(bytes);
const rate = (ms: number) => `${(sweep.count / ms / 1000).toFixed(1)} million points/s`;
process.stdout.write(
  `${sweep.count} points, ${(bytes.length / sweep.count).toFixed(2)} bytes a point\n`,
);

const first = cost(() => new SweepReader(bytes).readPoints());
report("decode coordinates and intensity", first, rate(first));
const all = cost(() => decodeSweep(bytes));
report("decode everything", all, rate(all));
report(
  "index of a sweep, once",
  cost(() => new SweepIndex(sweep.xyz_m)),
);

// clicks on points that stand 0.5 to 2 m above the origin's ground, spread over the sweep
const index = indexOf(sweep);
const clicks: Vec3[] = [];
for (let i = 0; i < sweep.count && clicks.length < 200; i += Math.floor(sweep.count / 2000) + 1) {
  const [x, y, z] = sweep.xyz_m.subarray(3 * i, 3 * i + 3);
  if (z > 0.5 && z < 2 && Math.hypot(x, y) < 50) clicks.push([x, y, z]);
}
const fits = clicks.map((click) => {
  const before = process.cpuUsage();
  const fit = fitBox(sweep, click, { categories: CARS });
  const { user, system } = process.cpuUsage(before);
  return { ms: (user + system) / 1000, shape: fit?.shape };
});
const times = fits.map(({ ms }) => ms).sort((a, b) => a - b);
const worst = times[Math.floor(times.length * 0.95)];
report("click to fit", times[times.length >> 1], `${worst.toFixed(1)} ms at the 95th percentile`);
const shape = fits.find((fit) => fit.shape)?.shape as Shape;
report(
  "refit of a box",
  cost(() => refit(sweep, shape)),
);
report(
  "points in a box, all points looked at",
  cost(() => pointsInBox(index.xyz_m, shape)),
);

// a long clip with many objects: what one step of a drag and one save cost
const [TRACKS, FRAMES] = [300, 50];
const frames = Array.from({ length: FRAMES }, (_, index) => ({
  index,
  timestamp_ns: index * 1e8,
  map_SE3_ego: fromYaw(0.01 * index, [index, 0, 0]),
  points_url: "",
  num_points: 0,
  images: [],
}));
const boxes = Array.from({ length: TRACKS * FRAMES }, (_, i): Box => {
  const [track, frame] = [Math.floor(i / FRAMES), i % FRAMES];
  return {
    track_id: String(track),
    frame,
    category: "car",
    center_xyz_m: [track - 150, (track % 20) - 10, 1],
    size_lwh_m: [4.6, 1.9, 1.7],
    yaw_rad: 0.1,
    origin: "manual",
    key_frame: frame % 10 === 0,
    attributes: {},
  };
});
const clip = { task_id: "", title: "", version: "", categories: CARS, frames };
const model = new Model(clip, boxes);
let x = 0;
const step = () => {
  const box = { ...model.boxes[7], center_xyz_m: [x++ * 0.01, 1, 1] as Vec3 };
  const run = (document: Document) => placeBox(document, model.motion, box);
  model.run({ label: "move", key: "drag", held: true, run });
  return model.boxes;
};
report(`one step of a drag, ${TRACKS} tracks of ${FRAMES} frames`, cost(step));
const annotation = () => annotationOf(model.document, new Effort().summary());
report("what is saved of them", cost(annotation));
const text = JSON.stringify(annotation());
report(
  "the same as text",
  cost(() => JSON.stringify(annotation())),
  `${text.length} bytes`,
);
