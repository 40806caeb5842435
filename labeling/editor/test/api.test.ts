import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { Api, ApiError } from "../src/core/api";
import { documentOf } from "../src/core/document";
import type { TaskJson } from "../src/core/protocol";
import { Effort } from "../src/core/stats";
import { annotationOf, ProtocolError, readTask } from "../src/core/wire";
import { box } from "./support";

const EYE = [0, 1, 2, 3].map((i) => [0, 1, 2, 3].map((k) => (i === k ? 1 : 0)));
const TASK: TaskJson = {
  task_id: "t1",
  labeller: "editor:1",
  title: "a drive",
  version: "1",
  categories: [{ name: "car", color: "#56b4e9", default_size_lwh_m: [4.6, 1.9, 1.7] }],
  frames: [
    {
      index: 0,
      timestamp_ns: 1.7e18,
      map_SE3_ego: EYE,
      points_url: "/editor/api/tasks/t1/points/0",
      num_points: 3,
      images: [
        {
          camera: "front",
          url: "/i",
          width: 10,
          height: 5,
          K: [
            [1, 0, 5],
            [0, 1, 2],
            [0, 0, 1],
          ],
          camera_SE3_ego: EYE,
        },
      ],
    },
  ],
  prelabels: [box({ origin: "prediction", score: 0.7, yaw_rad: 4 })],
  annotation: null,
  draft: null,
};

let server: Server | null = null;
afterEach(() => {
  server?.close();
});

/** Start a server that gives these answers one after the other; the last one is repeated. */
async function serve(...answers: [number, unknown][]) {
  const seen: { method: string; url: string; body: string }[] = [];
  server = createServer((request: IncomingMessage, response) => {
    let body = "";
    request.on("data", (part) => {
      body += part;
    });
    request.on("end", () => {
      const [status, answer] = answers[Math.min(seen.length, answers.length - 1)];
      seen.push({ method: request.method!, url: request.url!, body });
      if (status === 0) request.socket.destroy();
      else {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(typeof answer === "string" ? answer : JSON.stringify(answer));
      }
    });
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { api: new Api({ base: `http://127.0.0.1:${port}`, attempts: 3 }), seen };
}

describe("the server", () => {
  test("is asked again after an overload and a lost connection", async () => {
    const { api, seen } = await serve([503, "busy"], [0, ""], [200, TASK]);
    const { clip } = await api.open("t1");
    expect(clip.title).toBe("a drive");
    expect(seen.map(({ url }) => url)).toEqual(Array(3).fill("/editor/api/tasks/t1"));
  });

  test("that refuses is not asked again, and its words are kept", async () => {
    const { api, seen } = await serve([404, { error: "there is no task t9; list them" }]);
    const error = await api.open("t9").catch((e) => e);
    expect(error).toBeInstanceOf(ApiError);
    expect(error.message).toMatch(/GET \/editor\/api\/tasks\/t9: there is no task t9; list them/);
    expect(error.passing).toBe(false);
    expect(seen).toHaveLength(1);
  });

  test("that answers with a proxy's page is told by its status", async () => {
    const { api } = await serve([502, "<html>bad gateway</html>"]);
    const error = await api.tasks().catch((e) => e);
    expect(error.message).toMatch(/status 502/);
    expect(error.passing).toBe(true);
  });

  test("that is not there is an error that passes", async () => {
    const { api } = await serve([0, ""]);
    server?.close();
    const error = await api.tasks().catch((e) => e);
    expect(error.status).toBe(0);
    expect(error.message).toMatch(/no answer from the server/);
  });

  test("gets drafts and answers once a call, as JSON", async () => {
    const { api, seen } = await serve([200, { stored: true }]);
    const annotation = annotationOf(documentOf([box()], 1), new Effort().summary());
    const common = { client_id: "c", sequence: 3, version: "1", annotation };
    await api.saveDraft("t 1", common);
    await api.submit("t 1", { ...common, submission_id: "s", lead_time_s: 4 });
    expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
      "PUT /editor/api/tasks/t%201/draft",
      "POST /editor/api/tasks/t%201/submit",
    ]);
    expect(JSON.parse(seen[0].body)).toEqual(JSON.parse(JSON.stringify(common)));
  });

  test("gives bytes as they are", async () => {
    const { api } = await serve([200, "SLPC"]);
    expect([...(await api.bytes("/points"))]).toEqual([...new TextEncoder().encode("SLPC")]);
  });
});

describe("a task", () => {
  test("is read into flat matrices, wrapped angles and whole boxes", () => {
    const { clip, prelabels } = readTask(TASK);
    expect(clip.frames[0].map_SE3_ego).toEqual(EYE.flat());
    expect(clip.frames[0].images[0].K).toEqual([1, 0, 5, 0, 1, 2, 0, 0, 1]);
    expect(prelabels[0].yaw_rad).toBeCloseTo(4 - 2 * Math.PI, 12);
    expect(prelabels[0].score).toBe(0.7);
  });

  const frame = TASK.frames[0];
  test.each([
    ["without frames", { frames: [] }, /has no frames/],
    ["without categories", { categories: [] }, /no categories/],
    ["with frames out of order", { frames: [{ ...frame, index: 4 }] }, /frame 0 calls itself 4/],
    [
      "with a short matrix",
      { frames: [{ ...frame, map_SE3_ego: EYE.slice(1) }] },
      /map_SE3_ego is not 4 rows/,
    ],
    ["with a box outside", { prelabels: [box({ frame: 7 })] }, /prelabels, box 0: frame 7 of 1/],
    ["with a flat box", { prelabels: [box({ size_lwh_m: [1, 0, 1] })] }, /size/],
    [
      "with a box nowhere",
      { prelabels: [box({ center_xyz_m: [0, Number.NaN, 0] })] },
      /center_xyz_m/,
    ],
    [
      "with an answer of another format",
      {
        annotation: { ...annotationOf(documentOf([], 1), new Effort().summary()), format: 2 as 1 },
      },
      /format 2/,
    ],
  ])("%s is refused with the place", (_, part, message) => {
    expect(() => readTask({ ...TASK, ...part })).toThrow(ProtocolError);
    expect(() => readTask({ ...TASK, ...part })).toThrow(message);
  });

  test("comes back as it was, to a tenth of a millimeter", () => {
    const boxes = [box({ center_xyz_m: [1.23456789, -2, 0.5], yaw_rad: 2.123456789, score: 0.5 })];
    const sent = annotationOf(documentOf(boxes, 1), new Effort().summary());
    expect(sent.boxes[0].center_xyz_m).toEqual([1.2346, -2, 0.5]);
    expect("score" in sent.boxes[0]).toBe(false);
    const back = readTask({ ...TASK, annotation: JSON.parse(JSON.stringify(sent)) });
    expect(back.annotation?.boxes[0].yaw_rad).toBeCloseTo(2.12346, 9);
    expect(documentOf(back.annotation!.boxes, 1).tracks.size).toBe(1);
  });
});

describe("effort", () => {
  test("counts, and gives seconds to the selected track", () => {
    const time = { ms: 0 };
    const effort = new Effort(null, () => time.ms);
    effort.click();
    time.ms = 2000;
    effort.select("7");
    time.ms = 5000;
    effort.key();
    effort.action("fit");
    time.ms = 6000;
    effort.drag();
    effort.select(null);
    time.ms = 7000;
    effort.action("fit");
    expect(effort.summary()).toEqual({
      time_spent_s: 7,
      events: {
        clicks: 1,
        keys: 1,
        drags: 1,
        actions: { fit: 2 },
        seconds_by_track: { "7": 4 },
      },
    });
  });

  test("does not count pauses of a minute, and goes on where it was", () => {
    const time = { ms: 0 };
    const effort = new Effort(null, () => time.ms);
    for (const ms of [0, 30_000, 95_000, 100_000, 3_700_000]) {
      time.ms = ms;
      effort.active();
    }
    const before = effort.summary();
    expect(before.time_spent_s).toBe(35);
    const next = new Effort(before, () => time.ms);
    next.click();
    time.ms += 10_000;
    next.click();
    expect(next.summary().time_spent_s).toBe(45);
    expect(next.summary().events.clicks).toBe(2);
  });
});
