/** The boxes of the frame as a list, with a filter by category. */

import { isProposal } from "../actions/tracks";
import type { Box } from "../core/types";
import type { Editor } from "../editor";
import { css } from "../scene/colors";
import { h, setText, shortId } from "./dom";

const MOST_ROWS = 400;

export class Objects {
  readonly element: HTMLElement;
  private readonly title = h("span");
  private readonly list = h("div", { className: "list", role: "listbox", tabIndex: -1 });
  private readonly filters = h("div", { className: "filters" });
  private readonly rows: HTMLButtonElement[] = [];
  private readonly filled = new WeakMap<HTMLElement, { box: Box; look: string }>();
  private scrolledTo: string | null = null;

  constructor(private readonly editor: Editor) {
    for (const { name } of editor.clip.categories) this.filters.append(this.filter(name));
    this.element = h(
      "section",
      { className: "objects" },
      h("h2", {}, this.title),
      this.filters,
      this.list,
    );
  }

  update(): void {
    const { editor } = this;
    const boxes = editor.model.boxes.slice(0, MOST_ROWS);
    setText(this.title, `Objects · ${editor.model.boxes.length}`);
    const present = new Set(editor.model.boxes.map((box) => box.category));
    for (const element of this.filters.children as HTMLCollectionOf<HTMLElement>) {
      const name = element.dataset.category ?? "";
      const on = !editor.look.hidden.has(name);
      element.classList.toggle("on", on);
      element.setAttribute("aria-pressed", String(on));
      element.hidden = !present.has(name) && on;
    }
    while (this.rows.length < boxes.length) this.rows.push(this.row());
    this.rows.forEach((row, i) => {
      row.hidden = i >= boxes.length;
      if (i < boxes.length) this.fill(row, boxes[i]);
    });
  }

  /** Put the keyboard on the filters. */
  focus(): void {
    this.filters.querySelector<HTMLButtonElement>("button:not([hidden])")?.focus();
  }

  private row(): HTMLButtonElement {
    const row = h(
      "button",
      { className: "item", tabIndex: -1 },
      h("i"),
      h("span"),
      h("span", { className: "quiet number" }),
      h("span", { className: "quiet number" }),
    );
    row.addEventListener("click", () => {
      this.editor.model.select(row.dataset.track ?? null);
      row.blur(); // the keyboard belongs to the box
    });
    row.addEventListener("pointerenter", () => this.editor.hover(row.dataset.track ?? null));
    row.addEventListener("pointerleave", () => this.editor.hover(null));
    this.list.append(row);
    return row;
  }

  private fill(row: HTMLButtonElement, box: Box): void {
    const { editor } = this;
    const [swatch, name, distance, count] = row.children as unknown as HTMLElement[];
    const color = css(editor.colorOf(box.category));
    const selected = box.track_id === editor.model.selected;
    const points = editor.countIn(box) ?? "…";
    const hidden = editor.look.hidden.has(box.category);
    const look = `${selected} ${hidden} ${points}`;
    const before = this.filled.get(row);
    if (before?.box === box && before.look === look) return;
    this.filled.set(row, { box, look });
    row.dataset.track = box.track_id;
    row.classList.toggle("on", selected);
    row.classList.toggle("dim", hidden);
    swatch.classList.toggle("hollow", isProposal(box));
    swatch.style.cssText = `background:${isProposal(box) ? "none" : color};border-color:${color}`;
    setText(name, `${box.category.replaceAll("_", " ")} ${shortId(box.track_id)}`);
    setText(distance, `${Math.hypot(box.center_xyz_m[0], box.center_xyz_m[1]).toFixed(0)} m`);
    setText(count, `${points}`);
    if (selected && this.scrolledTo !== box.track_id) row.scrollIntoView({ block: "nearest" });
    if (selected) this.scrolledTo = box.track_id;
  }

  private filter(name: string): HTMLButtonElement {
    const swatch = h("i");
    swatch.style.background = css(this.editor.colorOf(name));
    const element = h("button", { data: { category: name } }, swatch, name.replaceAll("_", " "));
    element.title = `show or hide ${name}`;
    element.addEventListener("click", (event) => {
      if (event.detail > 0) element.blur(); // pressed with the mouse
      const hidden = new Set(this.editor.look.hidden);
      if (!hidden.delete(name)) hidden.add(name);
      this.editor.setLook({ hidden });
    });
    return element;
  }
}
