import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { SubmitRequest } from "../src/core/protocol";
import { Session } from "../src/session";
import { drivingClip } from "./support";

const sent: SubmitRequest[] = [];
const items = new Map<string, string>();
const listeners = new Map<string, () => void>();

beforeEach(() => {
  items.clear();
  sent.length = 0;
  vi.stubGlobal("localStorage", {
    getItem: (key: string) => items.get(key) ?? null,
    setItem: (key: string, value: string) => void items.set(key, value),
    removeItem: (key: string) => void items.delete(key),
  });
  const addEventListener = (kind: string, told: () => void) => void listeners.set(kind, told);
  vi.stubGlobal("window", { addEventListener, clearTimeout, setTimeout });
  vi.stubGlobal("fetch", answer);
});
afterEach(() => {
  vi.unstubAllGlobals();
});

/** Answer as the server does. */
async function answer(url: string, init: RequestInit): Promise<Response> {
  if (init.method === "GET") return Response.json(taskJson());
  const request = JSON.parse(init.body as string) as SubmitRequest;
  if (url.endsWith("/draft")) return Response.json({ ...request, stored: true, saved_at: "" });
  sent.push(request);
  return Response.json({ submission_id: request.submission_id, annotation_id: "a" });
}

function taskJson() {
  const clip = drivingClip(2);
  const rows = (flat: readonly number[]) => [0, 4, 8, 12].map((i) => flat.slice(i, i + 4));
  const frames = clip.frames.map((frame) => ({ ...frame, map_SE3_ego: rows(frame.map_SE3_ego) }));
  return { ...clip, frames, labeller: "editor:1", prelabels: [], annotation: null, draft: null };
}

test("the time of an answer is that of all sittings, not of the last one", async () => {
  const first = await Session.open("task", async () => null);
  vi.useFakeTimers({ toFake: ["Date"] });
  for (let second = 0; second <= 100; second++) {
    first.effort.active();
    vi.advanceTimersByTime(1000);
  }
  vi.useRealTimers();
  await first.save();
  const again = await Session.open("task", async () => null);
  await again.submit();
  expect(sent).toHaveLength(1);
  expect(sent[0].lead_time_s).toBeGreaterThanOrEqual(100);
  expect(sent[0].lead_time_s).toBeLessThan(130);
});

test("a page that is left before the browser has a save keeps it in another way", async () => {
  const lastWords = () =>
    [...items.keys()].filter((key) => key.startsWith("starloop-editor-last/"));
  const session = await Session.open("task", async () => null);
  const saved = session.save();
  listeners.get("pagehide")!();
  expect(lastWords()).toHaveLength(1);
  await saved;
  items.delete(lastWords()[0]);
  listeners.get("pagehide")!();
  expect(lastWords()).toHaveLength(0); // nothing is unsaved: it may be older than other work
});
