import { expect, test } from "vitest";
import type { LocalRecord } from "../src/core/draft-store";
import {
  forgetLastWords,
  readLastWords,
  sayLastWords,
  withLastWords,
} from "../src/core/last-words";
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

test("what was done in the last moment is there after a reload, until the store has it", () => {
  const texts = new Texts();
  expect(sayLastWords(texts, RECORD, ANNOTATION)).toBe(true);
  const read = readLastWords(texts, RECORD.key)!;
  const found = withLastWords(RECORD, read);
  expect(found?.annotation).toEqual(ANNOTATION);
  expect(found?.sequence).toBe(5);
  expect(readLastWords(texts, RECORD.key)).toEqual(read); // the page may be gone before it stores
  forgetLastWords(texts, RECORD.key, read);
  expect(readLastWords(texts, RECORD.key)).toBeNull();
});

test("newer last words are not forgotten with older ones", () => {
  const texts = new Texts();
  sayLastWords(texts, RECORD, ANNOTATION);
  const read = readLastWords(texts, RECORD.key)!;
  sayLastWords(texts, { ...RECORD, sequence: 5 }, ANNOTATION);
  forgetLastWords(texts, RECORD.key, read);
  expect(readLastWords(texts, RECORD.key)?.sequence).toBe(5);
});

test("last words that the store got after all, or of another clip, change nothing", () => {
  const texts = new Texts();
  sayLastWords(texts, RECORD, ANNOTATION);
  const last = readLastWords(texts, RECORD.key);
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
  expect(readLastWords(full, RECORD.key)).toBeNull();
});
