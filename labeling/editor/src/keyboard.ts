/**
 * Every key of the editor, in one table: it drives the keyboard, the tooltips and the sheet on `?`.
 */

import type { Step } from "./actions/boxes";
import * as boxes from "./actions/boxes";
import { categorise } from "./actions/category";
import { carry, fitHeight, putOnGround, refitSelected } from "./actions/fitting";
import * as tracks from "./actions/tracks";
import type { App } from "./app";

export interface Key {
  /** Names the command elsewhere: in buttons and tests. */
  id: string;
  group: string;
  /** As on the sheet: "Shift+Tab", "W", "Ctrl+Z". Letters and digits are places on the keyboard. */
  keys: readonly string[];
  label: string;
  /** Shift makes larger steps, Alt smaller ones. */
  steps?: boolean;
  run: (app: App, step: Step) => unknown;
}

const key = (
  group: string,
  id: string,
  keys: string,
  label: string,
  run: Key["run"],
  steps = false,
): Key => ({ group, id, keys: keys.split(" "), label, run, steps });

const numbered = (index: number): Key =>
  key(
    "Category",
    `category-${index + 1}`,
    String((index + 1) % 10),
    `category ${index + 1}`,
    (app) => categorise(app.editor, index),
  );

export const KEYS: readonly Key[] = [
  key("Frames and boxes", "next-frame", "→ .", "next frame", (app) => app.goFrame(1)),
  key("Frames and boxes", "previous-frame", "← ,", "previous frame", (app) => app.goFrame(-1)),
  key("Frames and boxes", "first-frame", "Home", "first frame", (app) =>
    app.editor.model.showFrame(0),
  ),
  key("Frames and boxes", "last-frame", "End", "last frame", (app) =>
    app.editor.model.showFrame(app.editor.clip.frames.length - 1),
  ),
  key("Frames and boxes", "next-box", "Tab", "next box", (app) => app.stepBox(1)),
  key("Frames and boxes", "previous-box", "Shift+Tab", "previous box", (app) => app.stepBox(-1)),
  key("Frames and boxes", "deselect", "Escape", "let go, back to select", (app) => app.escape()),

  key(
    "Move and turn",
    "forward",
    "W",
    "forward",
    (app, s) => boxes.nudge(app.editor, 0, 1, s),
    true,
  ),
  key(
    "Move and turn",
    "backward",
    "S",
    "backward",
    (app, s) => boxes.nudge(app.editor, 0, -1, s),
    true,
  ),
  key("Move and turn", "left", "A", "left", (app, s) => boxes.nudge(app.editor, 1, 1, s), true),
  key("Move and turn", "right", "D", "right", (app, s) => boxes.nudge(app.editor, 1, -1, s), true),
  key("Move and turn", "up", "Q", "up", (app, s) => boxes.nudge(app.editor, 2, 1, s), true),
  key("Move and turn", "down", "E", "down", (app, s) => boxes.nudge(app.editor, 2, -1, s), true),
  key(
    "Move and turn",
    "turn-left",
    "Z",
    "turn left",
    (app, s) => boxes.turn(app.editor, 1, s),
    true,
  ),
  key(
    "Move and turn",
    "turn-right",
    "X",
    "turn right",
    (app, s) => boxes.turn(app.editor, -1, s),
    true,
  ),
  key("Move and turn", "flip", "C", "flip heading, whole track", (app) =>
    boxes.flip(app.editor, false),
  ),
  key("Move and turn", "flip-here", "Shift+C", "flip heading, this frame", (app) =>
    boxes.flip(app.editor, true),
  ),

  key("Size and fit", "longer", "I", "longer", (app, s) => boxes.grow(app.editor, 0, 1, s), true),
  key(
    "Size and fit",
    "shorter",
    "K",
    "shorter",
    (app, s) => boxes.grow(app.editor, 0, -1, s),
    true,
  ),
  key("Size and fit", "wider", "L", "wider", (app, s) => boxes.grow(app.editor, 1, 1, s), true),
  key(
    "Size and fit",
    "narrower",
    "J",
    "narrower",
    (app, s) => boxes.grow(app.editor, 1, -1, s),
    true,
  ),
  key("Size and fit", "higher", "O", "higher", (app, s) => boxes.grow(app.editor, 2, 1, s), true),
  key("Size and fit", "lower", "U", "lower", (app, s) => boxes.grow(app.editor, 2, -1, s), true),
  key("Size and fit", "default-size", "Y", "usual size of the category", (app) =>
    boxes.useDefaultSize(app.editor),
  ),
  key("Size and fit", "type", "F4", "type size, place, heading (Tab: next)", (app) =>
    app.focusField("numbers"),
  ),
  key("Size and fit", "refit", "R", "fit to the points again", (app) => refitSelected(app.editor)),
  key("Size and fit", "ground", "G", "put on the ground", (app) => putOnGround(app.editor)),
  key("Size and fit", "height", "H", "bottom and top from the points", (app) =>
    fitHeight(app.editor),
  ),

  key("New boxes", "fit-tool", "F", "click an object to box it (also Ctrl+click)", (app) =>
    app.editor.setTool("fit"),
  ),
  key("New boxes", "draw-tool", "B", "draw a box from above", (app) => app.startDrawing()),
  key("New boxes", "copy", "Ctrl+C", "copy", (app) => app.copy()),
  key("New boxes", "paste", "Ctrl+V", "paste: at the pointer, else in place", (app) => app.paste()),
  key("New boxes", "delete", "Delete Backspace", "delete in this frame", (app) =>
    boxes.remove(app.editor, false),
  ),
  key(
    "New boxes",
    "delete-track",
    "Shift+Delete Shift+Backspace",
    "delete the whole track",
    (app) => boxes.remove(app.editor, true),
  ),

  key("Prelabels", "accept", "Enter", "accept the track, go to the next", (app) => {
    tracks.accept(app.editor);
    app.lookAtSelected();
  }),
  key("Prelabels", "accept-all", "Shift+Enter", "accept all", (app) =>
    tracks.acceptAll(app.editor),
  ),

  key("Tracks", "propagate", "P", "to the next frame, fitted", (app) => carry(app.editor, 1)),
  key("Tracks", "propagate-back", "Shift+P", "to the previous frame, fitted", (app) =>
    carry(app.editor, -1),
  ),
  key("Tracks", "key-frame", "M", "key frame on or off", (app) =>
    tracks.toggleKeyFrame(app.editor),
  ),
  key("Tracks", "next-key", "]", "next key frame", (app) => tracks.toKeyFrame(app.editor, 1)),
  key("Tracks", "previous-key", "[", "previous key frame", (app) =>
    tracks.toKeyFrame(app.editor, -1),
  ),
  key("Tracks", "interpolate", "Shift+T", "interpolate first – here – last", (app) =>
    tracks.interpolate(app.editor),
  ),
  key("Tracks", "stand-still", "Shift+G", "stands still where it is now", (app) =>
    tracks.standStill(app.editor),
  ),
  key("Tracks", "spread", "Shift+R", "same correction in its other prelabels", (app) =>
    tracks.spread(app.editor),
  ),
  key("Tracks", "split", "Shift+Y", "split before this frame", (app) => tracks.split(app.editor)),
  key("Tracks", "merge", "Shift+M", "merge with another track", (app) => app.focusField("merge")),
  key("Tracks", "rename", "F2", "rename", (app) => app.focusField("rename")),

  ...Array.from({ length: 10 }, (_, index) => numbered(index)),

  key("View", "fly", "Space", "fly to the box", (app) => app.fly()),
  key("View", "top-down", "T", "look straight down, or not", (app) =>
    app.perspective.toggleTopDown(),
  ),
  key("View", "home", "Shift+H", "behind the own vehicle", (app) => app.perspective.home()),
  key("View", "enlarge", "V", "enlarge the next view", (app) => app.enlargeNext()),
  key("View", "color", "N", "colour: height, intensity, distance, ring, class", (app) =>
    app.editor.nextColorMode(1),
  ),
  key("View", "background", "Shift+B", "points of neighbouring sweeps", (app) =>
    app.toggleBackground(),
  ),
  key("View", "bigger-points", "+ =", "larger points", (app) => app.scalePoints(1.25)),
  key("View", "smaller-points", "-", "smaller points", (app) => app.scalePoints(0.8)),
  key("View", "names", "Shift+N", "names over boxes", (app) =>
    app.editor.setLook({ names: !app.editor.look.names }),
  ),
  key("View", "alone", "Shift+F", "only the selected box", (app) =>
    app.editor.setLook({ alone: !app.editor.look.alone }),
  ),
  key("View", "cameras", "Shift+V", "camera images", (app) =>
    app.editor.setLook({ cameras: !app.editor.look.cameras }),
  ),
  key("View", "camera-large", "Shift+Space", "enlarge a camera image", (app) =>
    app.cameras.enlargeNext(),
  ),
  key("View", "ramp", "\\", "ends of the colour ramp (arrows)", (app) => app.focusField("ramp")),
  key("View", "filter", "/", "show and hide categories", (app) => app.focusField("filter")),

  key("Work", "undo", "Ctrl+Z", "undo", (app) => app.editor.model.undo()),
  key("Work", "redo", "Ctrl+Shift+Z Ctrl+Y", "redo", (app) => app.editor.model.redo()),
  key("Work", "save", "Ctrl+S", "save now", (app) => app.saveNow()),
  key("Work", "submit", "Ctrl+Enter", "submit", (app) => app.submit()),
  key("Work", "help", "?", "this sheet", (app) => app.shortcuts.toggle()),
];

const NAMED: Record<string, string> = {
  ArrowRight: "→",
  ArrowLeft: "←",
  " ": "Space",
};

/** Return the name of the pressed key as in the table, without modifiers. */
export function nameOf(event: Pick<KeyboardEvent, "key" | "code">): string {
  const { code } = event;
  if (/^Key[A-Z]$/.test(code)) return code.slice(3);
  if (/^(Digit|Numpad)\d$/.test(code)) return code.slice(-1);
  return NAMED[event.key] ?? event.key;
}

type Pressed = Pick<KeyboardEvent, "key" | "code" | "shiftKey" | "altKey" | "ctrlKey" | "metaKey">;

/** Return the command of a key press and the size of its steps; null if the key means nothing. */
export function commandOf(event: Pressed): { command: Key; step: Step } | null {
  const name = nameOf(event);
  const control = event.ctrlKey || event.metaKey;
  // A sign that needs Shift on one keyboard and not on another is itself.
  const shift = event.shiftKey && (name.length > 1 || /[A-Z0-9]/.test(name));
  const full = `${control ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${name}`;
  const exact = event.altKey ? undefined : KEYS.find((command) => command.keys.includes(full));
  if (exact !== undefined) return { command: exact, step: "normal" };
  if (control) return null;
  const stepping = KEYS.find((command) => command.steps && command.keys.includes(name));
  if (stepping === undefined) return null;
  return { command: stepping, step: event.altKey ? "fine" : shift ? "coarse" : "normal" };
}

/** Return the keys of a command for a tooltip: "Undo (Ctrl+Z)". */
export function hint(id: string): string {
  const found = KEYS.find((command) => command.id === id);
  if (found === undefined) throw new Error(`no command ${id}`);
  return `${found.label} (${found.keys.join(" or ")})`;
}
