/** The selected box in numbers: typed sizes and places, category, track. */

import * as boxes from "../actions/boxes";
import { categorise } from "../actions/category";
import { isProposal, merge, rename } from "../actions/tracks";
import type { App } from "../app";
import type { Box } from "../core/types";
import { h, setText } from "./dom";
import { button } from "./toolbar";

type Field = "center_xyz_m" | "size_lwh_m" | "yaw_rad";
const DEGREES = 180 / Math.PI;

export class Inspector {
  readonly element: HTMLElement;
  private readonly numbers: { input: HTMLInputElement; field: Field; axis: number }[] = [];
  private readonly body = h("div");
  private readonly nothing = h("p", { className: "quiet" });
  private readonly state = h("span", { className: "state number" });
  private readonly category = h("select", { title: "category (number keys)" });
  private readonly track = h("input", {
    type: "text",
    title: "track; type another name to rename",
  });
  private readonly others = h("select", { title: "merge with another track" });
  private shownOthers = "";

  constructor(private readonly app: App) {
    const { editor } = app;
    for (const { name } of editor.clip.categories) {
      this.category.append(h("option", { value: name, textContent: name.replaceAll("_", " ") }));
    }
    this.category.addEventListener("change", () => {
      categorise(editor, this.category.selectedIndex);
      this.category.blur();
    });
    this.track.addEventListener("change", () => {
      if (!rename(editor, this.track.value)) this.update();
      this.track.blur();
    });
    this.others.addEventListener("change", () => {
      if (this.others.value !== "") merge(editor, this.others.value);
      this.others.blur();
      this.shownOthers = "";
    });
    this.nothing.innerHTML =
      "Nothing selected.<br>Click a box, or <kbd>F</kbd> and click an object, or <kbd>B</kbd> and draw.";
    this.body.append(this.fields(), this.buttons());
    this.element = h("section", {}, h("h2", {}, "Box", this.state), this.nothing, this.body);
  }

  update(): void {
    const { model } = this.app.editor;
    const box = model.selectedBox;
    this.body.hidden = box === null;
    this.nothing.hidden = model.selected !== null;
    if (box === null) {
      setText(
        this.state,
        model.selected === null ? "" : `track ${model.selected}: not in this frame`,
      );
      return;
    }
    const count = this.app.editor.countIn(box);
    setText(
      this.state,
      `${count === null ? "…" : count.toLocaleString("en")} points · ${stateOf(box)}`,
    );
    for (const { input, field, axis } of this.numbers) {
      if (input === document.activeElement) continue;
      input.value =
        field === "yaw_rad" ? (box.yaw_rad * DEGREES).toFixed(1) : box[field][axis].toFixed(2);
    }
    this.category.value = box.category;
    if (this.track !== document.activeElement) this.track.value = box.track_id;
    this.listOthers(box);
  }

  /** Put the keyboard into a field. */
  focus(field: "rename" | "merge" | "numbers"): void {
    if (field === "merge") this.others.focus();
    else (field === "rename" ? this.track : this.numbers[0].input).select();
  }

  private listOthers(box: Box): void {
    const ids = [...this.app.editor.model.document.tracks.values()]
      .filter((track) => track.track_id !== box.track_id && track.category === box.category)
      .map((track) => track.track_id);
    const key = [box.track_id, ...ids].join("\n");
    if (key === this.shownOthers) return;
    this.shownOthers = key;
    this.others.replaceChildren(
      h("option", { value: "", textContent: "merge…" }),
      ...ids.map((id) => h("option", { value: id, textContent: id })),
    );
  }

  private fields(): HTMLElement {
    const wide = (text: string, ...inputs: HTMLElement[]) => [
      h("label", { textContent: text }),
      h("div", { className: "wide" }, ...inputs),
    ];
    return h(
      "div",
      { className: "fields" },
      ...wide("class", this.category),
      ...wide("track", this.track, this.others),
      h("label", { textContent: "l w h" }),
      ...[0, 1, 2].map((axis) =>
        this.number("size_lwh_m", axis, ["length", "width", "height"][axis]),
      ),
      h("label", { textContent: "x y z" }),
      ...[0, 1, 2].map((axis) => this.number("center_xyz_m", axis, "xyz"[axis])),
      h("label", { textContent: "yaw °" }),
      this.number("yaw_rad", 0, "heading, degrees"),
      button(this.app, "flip", "Flip"),
      button(this.app, "default-size", "Usual"),
    );
  }

  private number(field: Field, axis: number, title: string): HTMLInputElement {
    const input = h("input", {
      type: "number",
      step: field === "yaw_rad" ? "0.5" : "0.05",
      title,
      aria: { label: title },
      data: { field: `${field}-${axis}` },
    });
    input.addEventListener("change", () => {
      const value = Number(input.value) / (field === "yaw_rad" ? DEGREES : 1);
      if (input.value !== "") boxes.setNumber(this.app.editor, field, axis, value);
      this.update();
    });
    this.numbers.push({ input, field, axis });
    return input;
  }

  private buttons(): HTMLElement {
    const press = (id: string, text: string) => button(this.app, id, text);
    return h(
      "div",
      { className: "buttons" },
      press("refit", "Refit"),
      press("ground", "Ground"),
      press("height", "Height"),
      press("key-frame", "Key frame"),
      press("interpolate", "Interpolate"),
      press("stand-still", "Standing"),
      press("split", "Split"),
      press("delete", "Delete"),
      press("accept", "Accept"),
    );
  }
}

function stateOf(box: Box): string {
  if (isProposal(box))
    return `prelabel${box.score === undefined ? "" : ` ${box.score.toFixed(2)}`}`;
  return box.key_frame ? "key frame" : "interpolated";
}
