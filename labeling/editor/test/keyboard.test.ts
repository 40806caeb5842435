import { describe, expect, it } from "vitest";
import { commandOf, hint, KEYS } from "../src/keyboard";

const press = (key: string, code: string, ...held: ("shift" | "alt" | "ctrl" | "meta")[]) =>
  commandOf({
    key,
    code,
    shiftKey: held.includes("shift"),
    altKey: held.includes("alt"),
    ctrlKey: held.includes("ctrl"),
    metaKey: held.includes("meta"),
  });

describe("the table of keys", () => {
  it("gives every key and every command one meaning", () => {
    const keys = KEYS.flatMap((command) => command.keys);
    expect(new Set(keys).size).toBe(keys.length);
    expect(new Set(KEYS.map((command) => command.id)).size).toBe(KEYS.length);
  });

  it("leaves Shift free for large steps of the keys that have steps", () => {
    const stepping = KEYS.filter((command) => command.steps).flatMap((command) => command.keys);
    const taken = KEYS.flatMap((command) => command.keys);
    expect(stepping.filter((key) => taken.includes(`Shift+${key}`))).toEqual([]);
  });

  it("knows keys by their place, signs by what they are", () => {
    expect(press("z", "KeyW")?.command.id).toBe("forward"); // a French keyboard
    expect(press("?", "Slash", "shift")?.command.id).toBe("help");
    expect(press("ArrowRight", "ArrowRight")?.command.id).toBe("next-frame");
    expect(press("1", "Numpad1")?.command.id).toBe("category-1");
    expect(press(" ", "Space")?.command.id).toBe("fly");
    expect(press("+", "Equal", "shift")?.command.id).toBe("bigger-points");
  });

  it("tells modifiers apart", () => {
    expect(press("w", "KeyW")?.step).toBe("normal");
    expect(press("W", "KeyW", "shift")?.step).toBe("coarse");
    expect(press("w", "KeyW", "alt")?.step).toBe("fine");
    expect(press("Z", "KeyZ", "ctrl", "shift")?.command.id).toBe("redo");
    expect(press("z", "KeyZ", "meta")?.command.id).toBe("undo");
    expect(press("Tab", "Tab", "shift")?.command.id).toBe("previous-box");
    expect(press("w", "KeyW", "ctrl")).toBeNull(); // the browser's own
    expect(press("Shift", "ShiftLeft", "shift")).toBeNull();
  });

  it("gives tooltips", () => {
    expect(hint("redo")).toBe("redo (Ctrl+Shift+Z or Ctrl+Y)");
    expect(() => hint("nothing")).toThrow("no command nothing");
  });
});
