import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "../src/core/api";
import { type DraftStore, IndexedDraftStore, TextDraftStore } from "../src/core/draft-store";
import { type DraftServer, Drafts } from "../src/core/drafts";
import type {
  Annotation,
  DraftJson,
  DraftReply,
  DraftRequest,
  SubmitReply,
  SubmitRequest,
} from "../src/core/protocol";
import type { OpenTask } from "../src/core/wire";
import { box, drivingClip } from "./support";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => {
  vi.useRealTimers();
});

/** Return an annotation that is told from others by its time. */
function work(time_spent_s: number): Annotation {
  const events = { clicks: 0, keys: 0, drags: 0, actions: {}, seconds_by_track: {} };
  return { format: 1, boxes: [box({ center_xyz_m: [time_spent_s, 0, 1] })], time_spent_s, events };
}

/** Keeps drafts and answers by the rules of protocol.ts; can be away, or refuse. */
class Server implements DraftServer {
  draft: DraftJson | null = null;
  readonly answers = new Map<string, SubmitRequest>();
  away = false;
  refusal: string | null = null;
  calls = 0;
  /** The answer is stored, but its acknowledgement is lost. */
  losesReplies = false;

  async saveDraft(_: string, sent: DraftRequest): Promise<DraftReply> {
    this.meet();
    const submitted = Math.max(0, ...[...this.answers.values()].map(({ sequence }) => sequence));
    const newer = sent.sequence > Math.max(submitted, this.draft?.sequence ?? 0);
    if (newer) this.draft = { ...sent, saved_at: new Date(Date.now()).toISOString() };
    const { client_id, sequence, saved_at } = this.draft!;
    return {
      client_id,
      sequence,
      saved_at,
      stored: client_id === sent.client_id && sequence === sent.sequence,
    };
  }

  async submit(_: string, sent: SubmitRequest): Promise<SubmitReply> {
    this.meet();
    this.answers.set(sent.submission_id, sent);
    if (this.losesReplies) throw new ApiError(0, "connection reset");
    return { submission_id: sent.submission_id, annotation_id: `a-${sent.submission_id}` };
  }

  private meet(): void {
    this.calls++;
    if (this.away) throw new ApiError(0, "no answer from the server");
    if (this.refusal) throw new ApiError(422, this.refusal);
  }
}

function taskOf(server: Server | null, part: Partial<OpenTask> = {}): OpenTask {
  const draft = server?.draft ?? null;
  return {
    clip: drivingClip(2),
    labeller: "editor:1",
    prelabels: [],
    annotation: null,
    draft,
    ...part,
  };
}

function textStore(): TextDraftStore {
  const items = new Map<string, string>();
  return new TextDraftStore({
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
  });
}

const seconds = (count: number) => vi.advanceTimersByTimeAsync(count * 1000);

describe.each([
  ["localStorage", async (): Promise<DraftStore> => textStore()],
  ["IndexedDB", async (): Promise<DraftStore> => IndexedDraftStore.open(new IDBFactory())],
])("work that is kept in %s", (_, makeStore) => {
  const setUp = async () => {
    // the simulated database schedules itself with timers
    vi.useRealTimers();
    const store = await makeStore();
    return { server: new Server(), store };
  };

  test("is there after a reload, before the server has it", async () => {
    const { server, store } = await setUp();
    const { drafts, recovery } = await Drafts.open(taskOf(server), server, store);
    expect(recovery.source).toBe("prelabels");
    await drafts.save(work(1));
    await drafts.save(work(2));
    drafts.close();
    const again = await Drafts.open(taskOf(server), server, store);
    expect(again.recovery.source).toBe("browser");
    expect(again.recovery.annotation).toEqual(work(2));
    expect(server.calls).toBe(0);
    again.drafts.close();
  });

  test("of two mounts is that of the later save, and the other is a backup", async () => {
    const { server, store } = await setUp();
    const one = (await Drafts.open(taskOf(server), server, store)).drafts;
    const two = (await Drafts.open(taskOf(server), server, store)).drafts;
    await one.save(work(1));
    await two.save(work(2));
    for (const drafts of [one, two]) drafts.close();
    const { drafts, recovery } = await Drafts.open(taskOf(server), server, store);
    expect(recovery.annotation).toEqual(work(2));
    expect(recovery.other?.annotation).toEqual(work(1));
    await drafts.forgetBackup();
    expect((await Drafts.open(taskOf(server), server, store)).recovery.other).toBeNull();
    expect(one.position.client_id).toBe(two.position.client_id);
    expect(two.position.sequence).toBeGreaterThan(one.position.sequence);
    drafts.close();
  });
});

test("two mounts with the same boxes leave no backup", async () => {
  const [server, store] = [new Server(), textStore()];
  const one = (await Drafts.open(taskOf(server), server, store)).drafts;
  const two = (await Drafts.open(taskOf(server), server, store)).drafts;
  await one.save(work(1));
  await two.save({ ...work(1), time_spent_s: 2 });
  const { recovery } = await Drafts.open(taskOf(server), server, store);
  expect(recovery.annotation?.time_spent_s).toBe(2);
  expect(recovery.other).toBeNull();
});

describe("the server", () => {
  test("gets the last of many saves, once", async () => {
    const [server, store] = [new Server(), textStore()];
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    for (let i = 1; i <= 20; i++) await drafts.save(work(i));
    expect(drafts.status.state).toBe("saving");
    await seconds(2);
    expect(server.calls).toBe(1);
    expect(server.draft?.annotation).toEqual(work(20));
    expect(drafts.status.state).toBe("saved");
  });

  test("that is away is asked again until it has the work, at longer and longer pauses", async () => {
    const [server, store] = [new Server(), textStore()];
    server.away = true;
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    await drafts.save(work(1));
    await seconds(60);
    expect(drafts.status.state).toBe("offline");
    expect(server.calls).toBeGreaterThan(3);
    expect(server.calls).toBeLessThan(12);
    await drafts.save(work(2));
    server.away = false;
    await seconds(40);
    expect(server.draft?.annotation).toEqual(work(2));
    expect(drafts.status.state).toBe("saved");
  });

  test("that dies for good loses nothing: the next page sends what it lacks", async () => {
    const [server, store] = [new Server(), textStore()];
    server.away = true;
    const first = await Drafts.open(taskOf(server), server, store);
    await first.drafts.save(work(5));
    first.drafts.close();
    server.away = false;
    await Drafts.open(taskOf(server), server, store);
    await seconds(1);
    expect(server.draft?.annotation).toEqual(work(5));
  });

  test("that refuses says why, and is asked again after the next change", async () => {
    const [server, store] = [new Server(), textStore()];
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    server.refusal = "box 3: unknown category";
    await drafts.save(work(1));
    await seconds(60);
    expect(drafts.status).toEqual({ state: "refused", problem: "box 3: unknown category" });
    expect(server.calls).toBe(1);
    server.refusal = null;
    await drafts.save(work(2));
    await seconds(2);
    expect(drafts.status.state).toBe("saved");
  });
});

describe("two machines", () => {
  test("the newer draft is taken, unsent older work is offered", async () => {
    const [server, here, there] = [new Server(), textStore(), textStore()];
    server.away = true;
    const mine = (await Drafts.open(taskOf(server), server, here)).drafts;
    await mine.save(work(1));
    mine.close();
    server.away = false;
    const other = (await Drafts.open(taskOf(server), server, there)).drafts;
    for (const time of [2, 3]) await other.save(work(time));
    await seconds(2);
    const { recovery, drafts } = await Drafts.open(taskOf(server), server, here);
    expect(recovery.source).toBe("server");
    expect(recovery.annotation).toEqual(work(3));
    expect(recovery.other?.annotation).toEqual(work(1));
    await drafts.save(work(4));
    await seconds(2);
    expect(server.draft?.annotation).toEqual(work(4));
  });

  test("at the same time: the second is told, and can put its work on top", async () => {
    const [server, here, there] = [new Server(), textStore(), textStore()];
    const mine = (await Drafts.open(taskOf(server), server, here)).drafts;
    const other = (await Drafts.open(taskOf(server), server, there)).drafts;
    for (const time of [1, 2, 3]) await other.save(work(time));
    await seconds(2);
    await mine.save(work(9));
    await seconds(2);
    expect(mine.status.state).toBe("conflict");
    expect(server.draft?.annotation).toEqual(work(3));
    await mine.keepMine();
    await seconds(2);
    expect(mine.status.state).toBe("saved");
    expect(server.draft?.annotation).toEqual(work(9));
  });
});

describe("an answer", () => {
  test("is sent until it is acknowledged, and stored once", async () => {
    const [server, store] = [new Server(), textStore()];
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    server.losesReplies = true;
    const reply = drafts.submit(work(7), 30);
    await seconds(10);
    expect(drafts.status.state).toBe("offline");
    server.losesReplies = false;
    await seconds(40);
    expect((await reply).annotation_id).toMatch(/^a-/);
    expect(server.answers.size).toBe(1);
    expect([...server.answers.values()][0].annotation).toEqual(work(7));
    expect(drafts.status.state).toBe("saved");
  });

  test("that was given before the page went away is sent by the next page", async () => {
    const [server, store] = [new Server(), textStore()];
    const first = await Drafts.open(taskOf(server), server, store);
    server.away = true;
    const lost = first.drafts.submit(work(7), 30).catch((error) => error);
    await seconds(3);
    first.drafts.close();
    await seconds(60);
    expect(await lost).toBeInstanceOf(ApiError);
    server.away = false;
    const { drafts, recovery } = await Drafts.open(taskOf(server), server, store);
    expect(recovery.pending?.annotation).toEqual(work(7));
    await drafts.resumeSubmit();
    expect(server.answers.size).toBe(1);
    expect(server.answers.has(recovery.pending!.submission_id)).toBe(true);
  });

  test("is not overwritten by a page that was open before", async () => {
    const [server, store] = [new Server(), textStore()];
    const old = (await Drafts.open(taskOf(server), server, store)).drafts;
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    await drafts.submit(work(7), 30);
    await old.save(work(1));
    await seconds(5);
    expect(old.status.state).toBe("superseded");
    expect(server.draft).toBeNull();
    await expect(old.submit(work(1), 1)).rejects.toThrow(/submitted from another page/);
    const again = await Drafts.open(taskOf(server, { annotation: work(7) }), server, store);
    expect(again.recovery.source).toBe("answer");
    expect(again.recovery.annotation).toEqual(work(7));
  });

  test("that is refused stays a draft", async () => {
    const [server, store] = [new Server(), textStore()];
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    server.refusal = "frame 99 of 2";
    await expect(drafts.submit(work(1), 3)).rejects.toThrow("frame 99 of 2");
    expect(drafts.status.state).toBe("refused");
    const { recovery } = await Drafts.open(taskOf(server), server, store);
    expect(recovery.pending).toBeNull();
    expect(recovery.annotation).toEqual(work(1));
  });

  test("does not end the work: what follows is a draft again", async () => {
    const [server, store] = [new Server(), textStore()];
    const { drafts } = await Drafts.open(taskOf(server), server, store);
    await drafts.submit(work(7), 30);
    await drafts.save(work(8));
    await seconds(2);
    expect(server.draft?.annotation).toEqual(work(8));
  });
});

test("two people who share a browser do not see each other's work", async () => {
  const store = textStore();
  const [hers, his] = [new Server(), new Server()];
  const first = await Drafts.open(taskOf(hers), hers, store);
  await first.drafts.save(work(1));
  const second = await Drafts.open(taskOf(his, { labeller: "editor:2" }), his, store);
  expect(second.recovery.source).toBe("prelabels");
  expect(second.recovery.other).toBeNull();
  expect(second.drafts.position.client_id).not.toBe(first.drafts.position.client_id);
});

test("work on another version of the task is no start, and is not lost", async () => {
  const [server, store] = [new Server(), textStore()];
  const { drafts } = await Drafts.open(taskOf(server), server, store);
  await drafts.save(work(3));
  drafts.close();
  const clip = { ...drivingClip(2), version: "2" };
  const { recovery } = await Drafts.open(taskOf(null, { clip }), server, store);
  expect(recovery.source).toBe("prelabels");
  expect(recovery.other?.annotation).toEqual(work(3));
});

test("work of another machine on another version of the task is no start, and is not lost", async () => {
  const server = new Server();
  const { drafts } = await Drafts.open(taskOf(server), server, textStore());
  await drafts.save(work(3));
  await seconds(3);
  drafts.close();
  const clip = { ...drivingClip(2), version: "2" };
  const here = textStore();
  const { drafts: now, recovery } = await Drafts.open(taskOf(server, { clip }), server, here);
  expect(recovery.source).toBe("prelabels");
  expect(recovery.other?.annotation).toEqual(work(3));
  await now.forgetBackup();
  expect((await Drafts.open(taskOf(server, { clip }), server, here)).recovery.other).toBeNull();
});

test("a full disk does not keep work from the server", async () => {
  const server = new Server();
  let full = false;
  const items = new Map<string, string>();
  const store = new TextDraftStore({
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => {
      if (full) throw new DOMException("quota", "QuotaExceededError");
      items.set(key, value);
    },
  });
  const { drafts } = await Drafts.open(taskOf(server), server, store);
  full = true;
  await drafts.save(work(1));
  await drafts.save(work(2));
  await seconds(2);
  expect(server.draft?.annotation).toEqual(work(2));
  expect(drafts.status.state).toBe("saved");
  await drafts.submit(work(3), 5);
  expect([...server.answers.values()].map(({ annotation }) => annotation)).toEqual([work(3)]);
  expect((await Drafts.open(taskOf(server), server, store)).recovery.annotation).toEqual(work(2));
});

test("a record that was cut short is as if there were none", async () => {
  const store = new TextDraftStore({ getItem: () => '{"task_id": "ta', setItem: () => undefined });
  expect(await store.read("task")).toBeNull();
});
