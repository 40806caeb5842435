/** The page: views, panels and keyboard around one editor. */

import { acceptAll, discardProposals, proposals } from "./actions/tracks";
import { boxAt } from "./core/document";
import type { Editor } from "./editor";
import { commandOf } from "./keyboard";
import type { Session } from "./session";
import { Cameras } from "./ui/cameras";
import { ask } from "./ui/dialog";
import { h, setText, soon } from "./ui/dom";
import { Inspector } from "./ui/inspector";
import { Legend } from "./ui/legend";
import { Objects } from "./ui/objects";
import { Shortcuts } from "./ui/shortcuts";
import type { Status } from "./ui/status";
import { Timeline } from "./ui/timeline";
import { Toolbar } from "./ui/toolbar";
import { Stage } from "./views/layout";
import { OrthoView } from "./views/ortho";
import { PerspectiveView } from "./views/perspective";
import { Pictures } from "./views/pictures";
import { Pointer } from "./views/pointer";
import type { View, ViewName } from "./views/view";

const BACKGROUND_SWEEPS = 3;
const HINTS = {
  fit: "Click a point of an object: a box is fitted to it. Esc: back.",
  draw: "Drag a rectangle from the rear to the front. Alt: exactly as drawn. Esc: back.",
} as const;

export class App {
  readonly perspective: PerspectiveView;
  readonly views: readonly View[];
  readonly stage: Stage;
  readonly cameras: Cameras;
  readonly shortcuts: Shortcuts;
  submitting = false;
  private readonly orthos: readonly OrthoView[];
  private readonly pointer: Pointer;
  private readonly legend: Legend;
  private readonly inspector: Inspector;
  private readonly objects: Objects;
  private readonly panels: readonly { update(): void }[];
  /** Panels of many rows: they wait until a box in hand is let go. */
  private readonly longPanels: readonly { update(): void }[];
  private readonly area = h("div", { className: "views", data: { large: "perspective" } });
  private readonly toast = h("div", { className: "toast", hidden: true, role: "status" });
  private readonly hint = h("div", { className: "hint", hidden: true });
  private readonly loading = h("div", { className: "loading" });

  constructor(
    readonly editor: Editor,
    private readonly session: Session,
    status: Status,
    root: HTMLElement,
  ) {
    const redraw = () => this.stage?.invalidate();
    const bar = h("header", { className: "bar" });
    const side = h("aside", { className: "panel" });
    const stage = h("main", { className: "stage" }, h("canvas", { className: "scene" }), this.area);
    stage.insertBefore(h("canvas", { className: "overlay" }), null);
    stage.append(this.toast, this.loading);
    this.perspective = new PerspectiveView(this.addView("perspective", "Perspective"), redraw);
    this.orthos = (["top", "side", "front"] as const).map(
      (name) => new OrthoView(name, this.addView(name, TITLES[name]), redraw),
    );
    this.views = [this.perspective, ...this.orthos];
    this.pointer = new Pointer(editor, this.views, this.perspective, redraw);
    const pictures = new Pictures(editor);
    this.legend = new Legend(editor);
    const timeline = new Timeline(editor);
    this.cameras = new Cameras(editor);
    this.inspector = new Inspector(this);
    this.objects = new Objects(editor);
    const toolbar = new Toolbar(this, bar, status);
    const large = h("div", { className: "large-place" });
    large.append(this.cameras.element, this.legend.element, this.hint);
    this.area.append(large);
    side.append(this.inspector.element, this.objects.element);
    root.className = "app";
    root.replaceChildren(bar, stage, side, timeline.element);
    this.shortcuts = new Shortcuts(document.body, editor.clip.categories);
    this.panels = [toolbar, this.legend, this.inspector, this.cameras];
    this.longPanels = [this.objects, timeline];
    this.stage = new Stage(
      stage,
      this.views,
      pictures.boxes,
      editor.style,
      () => pictures.update(this.orthos, this.pointer.holding),
      (ink, view) => pictures.overlay(ink, view, this.pointer),
    );
    pictures.addTo(this.stage.scene);
    editor.onChange(soon(() => this.update()));
    window.addEventListener("keydown", (event) => this.press(event));
    this.recenterOnSelection();
    this.update();
  }

  goFrame(step: number): void {
    this.editor.model.showFrame(this.editor.model.frame + step);
  }

  /** Select the next box of the frame, as seen going round the own vehicle. */
  stepBox(step: 1 | -1): void {
    const { model, shown } = this.editor;
    if (shown.length === 0) return;
    const ids = [...shown]
      .sort((a, b) => Math.hypot(...a.center_xyz_m) - Math.hypot(...b.center_xyz_m))
      .map((box) => box.track_id);
    const at = model.selected === null ? -1 : ids.indexOf(model.selected);
    const next = at < 0 && step < 0 ? ids.length - 1 : (at + step + ids.length) % ids.length;
    model.select(ids[next]);
    this.lookAtSelected();
  }

  /** Bring the selected box into the middle of the large view. */
  lookAtSelected(): void {
    const box = this.editor.model.selectedBox;
    if (box !== null) this.perspective.lookAt(box.center_xyz_m);
  }

  /** Let go of one thing after the other: a drag, a large image, a tool, the selection. */
  escape(): void {
    if (this.pointer.cancel() || this.cameras.shrink()) return;
    if (this.editor.tool !== "select") {
      this.editor.setTool("select");
      return;
    }
    this.editor.model.select(null);
  }

  fly(): void {
    const box = this.editor.model.selectedBox;
    if (box === null) {
      this.perspective.home();
      return;
    }
    this.perspective.flyTo(box.center_xyz_m, Math.max(...box.size_lwh_m));
    for (const view of this.orthos) view.reset();
  }

  startDrawing(): void {
    this.editor.setTool("draw");
    this.perspective.lookDown();
  }

  copy(): void {
    if (this.editor.model.copy()) this.editor.say("box copied");
  }

  /** Paste where the pointer is over the large view, else at the same place in the map. */
  paste(): void {
    const at = this.pointer.placeUnder();
    this.editor.attempt(() => this.editor.model.paste(at ?? undefined));
  }

  /** Show another view in the large place. */
  enlarge(name: ViewName): void {
    this.area.dataset.large = this.area.dataset.large === name ? "perspective" : name;
    this.stage.resize();
  }

  enlargeNext(): void {
    const names = this.views.map((view) => view.name);
    const at = names.indexOf(this.area.dataset.large as ViewName);
    this.area.dataset.large = names[(at + 1) % names.length];
    this.stage.resize();
  }

  toggleBackground(): void {
    const background = this.editor.look.background > 0 ? 0 : BACKGROUND_SWEEPS;
    this.editor.setLook({ background });
  }

  scalePoints(factor: number): void {
    const pointSize = Math.min(6, Math.max(0.6, this.editor.look.pointSize * factor));
    this.editor.setLook({ pointSize });
  }

  /** Put the keyboard into a field of a panel. */
  focusField(field: "rename" | "merge" | "numbers" | "filter" | "ramp"): void {
    if (field === "filter") this.objects.focus();
    else if (field === "ramp") this.legend.focus();
    else if (this.editor.model.selectedBox !== null) this.inspector.focus(field);
  }

  saveNow(): void {
    void this.session.save().then(() => this.editor.say("kept"));
  }

  /** Hand in the work; prelabels that nobody decided on are asked about first. */
  async submit(): Promise<void> {
    if (this.submitting) return;
    const open = proposals(this.editor.model.document).length;
    if (open > 0) {
      const answer = await ask(
        `${open} prelabelled boxes have been neither accepted nor changed.`,
        ["Accept them", "Discard them", "Go back"],
      );
      if (answer === null || answer === "Go back") return;
      if (answer === "Discard them") discardProposals(this.editor);
      else acceptAll(this.editor, true);
    }
    this.submitting = true;
    this.editor.changed();
    try {
      await this.session.submit();
      this.editor.say("submitted");
    } catch (error) {
      this.editor.say(`not submitted: ${(error as Error).message}`, "error");
    } finally {
      this.submitting = false;
      this.editor.changed();
    }
  }

  /** Whether what is on the screen is what was handed in. */
  get submitted(): boolean {
    return this.session.submitted;
  }

  private addView(name: ViewName, title: string): HTMLElement {
    const enlarge = h("button", { className: "enlarge", textContent: "⤢", title: "enlarge (V)" });
    const element = h(
      "div",
      { className: "view", data: { view: name } },
      h("span", { className: "name", textContent: title }),
      enlarge,
    );
    enlarge.addEventListener("click", () => this.enlarge(name));
    this.area.append(element);
    return element;
  }

  private recenterOnSelection(): void {
    this.editor.model.subscribe((state, before) => {
      this.session.select(state.selected);
      if (state.selected === before.selected && state.frame === before.frame) return;
      for (const view of this.orthos) view.recenter();
      if (state.selected === null || state.selected !== before.selected) return;
      const from = boxAt(before.document, state.selected, before.frame);
      const to = boxAt(state.document, state.selected, state.frame);
      if (from !== null && to !== null) {
        this.perspective.goAlong(from.center_xyz_m, to.center_xyz_m);
      }
    });
  }

  private update(): void {
    const { editor } = this;
    for (const panel of this.panels) panel.update();
    if (!this.pointer.holding) for (const panel of this.longPanels) panel.update();
    this.toast.hidden = editor.message === null;
    if (editor.message !== null) {
      setText(this.toast, editor.message.text);
      this.toast.dataset.kind = editor.message.kind;
    }
    const failed = editor.clouds.failed.get(editor.model.frame);
    const text = editor.tool === "select" ? (failed ?? "") : HINTS[editor.tool];
    this.hint.hidden = text === "";
    setText(this.hint, text);
    const { progress } = editor.clouds;
    this.loading.style.width = progress < 1 ? `${100 * progress}%` : "0";
    this.area.classList.toggle("crosshair", editor.tool !== "select");
    this.stage.pointSize = editor.look.pointSize;
    this.stage.invalidate();
  }

  private press(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (belongsTo(target, event)) return;
    if (document.querySelector("dialog[open]") !== null && event.key !== "?") return;
    const found = commandOf(event);
    if (found === null) return;
    event.preventDefault();
    this.session.key();
    this.editor.attempt(() => void found.command.run(this, found.step));
  }
}

/** Whether a key is for the field or button that has the focus. */
function belongsTo(target: HTMLElement, event: KeyboardEvent): boolean {
  const plain = !event.ctrlKey && !event.metaKey;
  if (target.tagName === "BUTTON") return plain && ["Enter", " ", "Tab"].includes(event.key);
  if (!/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return false;
  if (event.key === "Escape" || event.key === "Enter") target.blur();
  const slider = (target as HTMLInputElement).type === "range";
  return slider ? /^(Arrow|Home|End|Page|Tab|Escape)/.test(event.key) : true;
}

const TITLES = { top: "Top", side: "Side", front: "Front" };
