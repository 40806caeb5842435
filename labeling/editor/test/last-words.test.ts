import { expect, test } from "vitest";
import type { LocalRecord } from "../src/core/draft-store";
import { sayLastWords, takeLastWords, withLastWords } from "../src/core/last-words";
import type { Annotation } from "../src/core/protocol";

class Texts {
  private readonly kept = new Map<string, string>();
  getItem(name: string): string | null {
    return this.kept.get(name) ?? null;
  }
  setItem(name: string, text: string): void {
    this.kept.set(name, text);
  }
  removeItem(name: string): void {
    this.kept.delete(name);
  }
}

const ANNOTATION = { format: 1, boxes: [], time_spent_s: 3, events: {} } as unknown as Annotation;
const RECORD = {
  key: "task/someone",
  version: "v1",
  sequence: 4,
  annotation: null,
} as unknown as LocalRecord;

test("what was done in the last moment is there after a reload, once", () => {
  const texts = new Texts();
  expect(sayLastWords(texts, RECORD, ANNOTATION)).toBe(true);
  const found = withLastWords(RECORD, takeLastWords(texts, RECORD.key));
  expect(found?.annotation).toEqual(ANNOTATION);
  expect(found?.sequence).toBe(5);
  expect(takeLastWords(texts, RECORD.key)).toBeNull();
});

test("last words that the store got after all, or of another clip, change nothing", () => {
  const texts = new Texts();
  sayLastWords(texts, RECORD, ANNOTATION);
  const last = takeLastWords(texts, RECORD.key);
  const newer = { ...RECORD, sequence: 5 };
  expect(withLastWords(newer, last)).toBe(newer);
  const other = { ...RECORD, version: "v2" };
  expect(withLastWords(other, last)).toBe(other);
  expect(withLastWords(null, last)).toBeNull();
});

test("a browser that refuses is no error", () => {
  const full = new Texts();
  full.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  expect(sayLastWords(full, RECORD, ANNOTATION)).toBe(false);
  expect(takeLastWords(full, RECORD.key)).toBeNull();
});
