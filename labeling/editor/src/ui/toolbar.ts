/** The bar at the top: where we are, tools, undo, the state of the work, submit. */

import { proposals } from "../actions/tracks";
import type { App } from "../app";
import type { Tool } from "../editor";
import { hint, KEYS } from "../keyboard";
import { h, setText } from "./dom";
import type { Status } from "./status";

const TOOLS: readonly (readonly [Tool, string, string])[] = [
  ["select", "Select", "deselect"],
  ["fit", "Fit", "fit-tool"],
  ["draw", "Draw", "draw-tool"],
];

export class Toolbar {
  private readonly tools = new Map<Tool, HTMLButtonElement>();
  private readonly frame = h("span", { className: "number place" });
  private readonly undo: HTMLButtonElement;
  private readonly redo: HTMLButtonElement;
  private readonly background: HTMLButtonElement;
  private readonly accept: HTMLButtonElement;
  private readonly submit: HTMLButtonElement;

  constructor(
    private readonly app: App,
    bar: HTMLElement,
    status: Status,
  ) {
    const { editor } = app;
    const press = (id: string, text: string) => button(app, id, text);
    for (const [tool, text, id] of TOOLS) this.tools.set(tool, press(id, text));
    this.undo = press("undo", "↶");
    this.redo = press("redo", "↷");
    this.background = press("background", "Background");
    this.accept = press("accept-all", "Accept all");
    this.submit = press("submit", "Submit");
    this.submit.classList.add("primary");
    bar.append(
      h("span", { className: "clip", textContent: editor.clip.title, title: editor.clip.title }),
      group(press("previous-frame", "◀"), press("next-frame", "▶")),
      this.frame,
      h("span", { className: "divider" }),
      group(...this.tools.values()),
      group(this.undo, this.redo),
      press("propagate", "Propagate ▸"),
      this.background,
      h("span", { className: "space" }),
      status.element,
      press("help", "?"),
      this.accept,
      this.submit,
    );
  }

  update(): void {
    const { editor } = this.app;
    const { model } = editor;
    setText(this.frame, `${model.frame + 1} / ${editor.clip.frames.length}`);
    for (const [tool, element] of this.tools) press(element, editor.tool === tool);
    press(this.background, editor.look.background > 0);
    this.undo.disabled = model.undoLabel === null;
    this.redo.disabled = model.redoLabel === null;
    this.undo.title = model.undoLabel === null ? hint("undo") : `undo ${model.undoLabel} (Ctrl+Z)`;
    const open = proposals(model.document).length;
    this.accept.hidden = open === 0;
    setText(this.accept, `Accept all ${open}`);
    this.submit.disabled = this.app.submitting;
    setText(this.submit, this.app.submitting ? "Submitting…" : "Submit");
  }
}

const press = (element: HTMLButtonElement, on: boolean) => {
  element.classList.toggle("on", on);
  element.setAttribute("aria-pressed", String(on));
};

const group = (...buttons: HTMLElement[]) => h("div", { className: "group" }, ...buttons);

/** Make a button for a command of the keyboard's table. */
export function button(app: App, id: string, text: string): HTMLButtonElement {
  const element = h("button", { textContent: text, title: hint(id), data: { command: id } });
  element.addEventListener("click", () => {
    KEYS.find((key) => key.id === id)?.run(app, "normal");
    element.blur(); // the keyboard belongs to the box again
  });
  return element;
}
