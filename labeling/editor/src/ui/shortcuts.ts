/** The sheet on `?`: every key, from the table that drives the keyboard. */

import type { Category } from "../core/types";
import { KEYS } from "../keyboard";
import { h } from "./dom";

const MOUSE: readonly (readonly [string, string])[] = [
  ["drag", "turn; Shift or right button: shift"],
  ["wheel", "nearer, farther"],
  ["click", "select a box; twice flies to it"],
  ["Ctrl+click", "box the object under the pointer"],
  ["drag a handle", "resize; Shift: both sides"],
  ["drag the knob", "turn; Ctrl: in steps of 5°"],
  ["Alt+draw", "keep the rectangle, do not fit it"],
];

export class Shortcuts {
  private readonly dialog: HTMLDialogElement;

  constructor(parent: HTMLElement, categories: readonly Category[]) {
    const close = h("button", { textContent: "Close" });
    const columns = h("div", { className: "columns" });
    for (const group of new Set(KEYS.map((key) => key.group))) {
      const rows = KEYS.filter((key) => key.group === group).flatMap((key) => {
        const number = /^category-(\d+)$/.exec(key.id);
        const category = number === null ? undefined : categories[Number(number[1]) - 1];
        if (number !== null && category === undefined) return [];
        return [
          row(key.keys, category?.name.replaceAll("_", " ") ?? key.label, key.steps === true),
        ];
      });
      columns.append(
        h(
          "div",
          { className: "keys" },
          h("h2", { className: "title", textContent: group }),
          ...rows,
        ),
      );
    }
    const mouse = MOUSE.map(([keys, label]) => row([keys], label, false));
    columns.append(
      h(
        "div",
        { className: "keys" },
        h("h2", { className: "title", textContent: "Mouse" }),
        ...mouse,
      ),
    );
    this.dialog = h(
      "dialog",
      { className: "shortcuts" },
      h("h1", {}, "Shortcuts", close),
      h("p", { className: "quiet" }, "± : with Shift in large steps, with Alt in small ones"),
      columns,
    );
    close.addEventListener("click", () => this.dialog.close());
    parent.append(this.dialog);
  }

  get open(): boolean {
    return this.dialog.open;
  }

  toggle(): void {
    if (this.dialog.open) this.dialog.close();
    else this.dialog.showModal();
  }
}

function row(keys: readonly string[], label: string, steps: boolean): HTMLElement {
  const caps = keys.flatMap((text, i) => [
    ...(i > 0 ? [" "] : []),
    h("kbd", { textContent: text }),
  ]);
  return h("div", {}, h("span", { textContent: label }), h("span", {}, ...caps, steps ? " ±" : ""));
}
