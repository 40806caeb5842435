import { describe, expect, test } from "vitest";
import { TextDraftStore } from "../src/core/draft-store";
import { type DraftServer, Drafts } from "../src/core/drafts";
import { type HeldWork, type Place, placeOf, type Surroundings } from "../src/core/own-work";
import type { Annotation } from "../src/core/protocol";
import { box, drivingClip } from "./support";

function work(x: number): Annotation {
  const events = { clicks: 0, keys: 0, drags: 0, actions: {}, seconds_by_track: {} };
  const boxes = [box({ center_xyz_m: [x, 0, 1] })];
  return { format: 1, boxes, time_spent_s: 0, events };
}

function held(work_id: string, sequence = 5, part: Partial<HeldWork> = {}): HeldWork {
  const annotation = work(sequence);
  return { work_id, sequence, annotation, version: "1", prelabels: false, words: "", ...part };
}

function around(part: Partial<Surroundings>): Surroundings {
  return { held: null, number: null, elsewhere: new Map(), editable: true, ...part };
}

describe("an annotation of Label Studio", () => {
  const prelabels = held("prelabels-1", 0, { prelabels: true });

  test("that is new goes on with what was begun before a reload", () => {
    for (const one of [null, prelabels])
      expect(placeOf(around({ held: one }), "mine", "1")).toEqual({ kind: "own", held: null });
  });

  test("that is new beside the one with the work begins anew", () => {
    const elsewhere = new Map([["mine", 7]]);
    expect(placeOf(around({ held: prelabels, elsewhere }), "mine", "1")).toEqual({
      kind: "anew",
      held: null,
      keptElsewhere: 7,
    });
  });

  test("that holds the own work goes on with it", () => {
    const place = placeOf(around({ held: held("mine"), number: "3" }), "mine", "1");
    expect(place).toEqual({ kind: "own", held: held("mine") });
  });

  test("of another person, or older, keeps to itself", () => {
    const place = placeOf(around({ held: held("hers"), number: "3" }), "mine", "1");
    expect(place).toMatchObject({ kind: "other", name: "a3" });
    const draft = placeOf(around({ held: held("older") }), "mine", "1");
    expect(draft).toMatchObject({ kind: "other", name: "older" });
  });

  test("that is a copy is work of its own", () => {
    const elsewhere = new Map([["mine", 5]]);
    const place = placeOf(around({ held: held("mine"), elsewhere }), "mine", "1");
    expect(place).toMatchObject({ kind: "anew", held: held("mine") });
    const stored = placeOf(around({ held: held("mine"), elsewhere, number: "4" }), "mine", "1");
    expect(stored).toMatchObject({ kind: "other", name: "a4" });
  });

  test("that cannot be changed is only looked at", () => {
    expect(placeOf(around({ held: prelabels, editable: false }), "mine", "1").kind).toBe("other");
  });
});

describe("what is kept", () => {
  const items = new Map<string, string>();
  const store = new TextDraftStore({
    getItem: (key) => items.get(key) ?? null,
    setItem: (key, value) => void items.set(key, value),
  });
  const sent: string[] = [];
  const server: DraftServer = {
    saveDraft: async (_, { client_id, sequence, work_id }) => {
      sent.push(work_id ?? "");
      return { stored: true, client_id, sequence, saved_at: "2026-01-01T00:00:00Z" };
    },
    submit: async () => Promise.reject(new Error("not here")),
  };
  const task = {
    clip: drivingClip(2),
    labeller: "label_studio:1",
    prelabels: [],
    annotation: null,
    draft: null,
  };
  const open = (place: Place) => Drafts.open(task, server, store, place);

  test("of one annotation never appears in another, and is there again when it is opened", async () => {
    const first = await open({ kind: "own", held: null });
    await first.drafts.save(work(1));
    const mine = first.drafts.workId;
    expect(await Drafts.ownWork(task, store)).toBe(mine);
    first.drafts.close();

    const hers = await open({ kind: "other", held: held("hers"), name: "a9" });
    expect(hers.recovery.annotation).toEqual(work(5));
    expect(hers.drafts.position.sequence).toBe(5);
    await hers.drafts.save(work(2));
    expect(hers.drafts.status.state).toBe("saved");

    const sequence = first.drafts.position.sequence;
    const again = await open({ kind: "anew", held: null, keptElsewhere: sequence });
    expect(again.recovery).toMatchObject({ annotation: null, source: "prelabels", other: null });
    expect(again.drafts.workId).not.toBe(mine);
    await again.drafts.save(work(3));
    await first.drafts.save(work(4)); // a page that stayed open writes nothing over it
    expect(first.drafts.status.state).toBe("superseded");
    again.drafts.close();

    const back = await open({ kind: "other", held: held(mine, sequence), name: "a8" });
    expect(back.recovery.source).toBe("label studio");
    const hersAgain = await open({ kind: "other", held: held("hers"), name: "a9" });
    expect(hersAgain.recovery).toMatchObject({ source: "browser", annotation: work(2) });
    const ours = await open({ kind: "own", held: null });
    expect(ours.recovery.annotation).toEqual(work(3));
    expect(sent).toEqual([]);
    for (const one of [hers, back, hersAgain, ours]) one.drafts.close();
  });

  test("and is not in the other annotation is offered when one begins anew", async () => {
    const kept = (await open({ kind: "own", held: null })).recovery.annotation;
    const { recovery } = await open({ kind: "anew", held: held("copied", 2), keptElsewhere: 1 });
    expect(recovery).toMatchObject({ source: "label studio", annotation: work(2) });
    expect(recovery.other?.annotation).toEqual(kept);
  });
});
