/** Brings scene and views up to date with the editor: what is drawn, and how. */

import * as THREE from "three";
import { isProposal } from "../actions/tracks";
import type { Cloud } from "../clouds";
import { betweenFrames } from "../core/motion";
import type { Box } from "../core/types";
import type { Editor } from "../editor";
import { BoxBatch, BoxBody, type BoxLook } from "../scene/boxes";
import { HIGHLIGHT, type Rgb } from "../scene/colors";
import { makeGround } from "../scene/grid";
import { eachInside } from "../scene/inside";
import { shortId } from "../ui/dom";
import { OrthoView } from "./ortho";
import { drawHandles, drawName, drawOutline, drawScale } from "./overlay";
import type { Pointer } from "./pointer";
import type { View } from "./view";

export class Pictures {
  readonly boxes = new BoxBatch();
  private readonly body = new BoxBody();
  private readonly clouds = new THREE.Group();
  private colored: { boxes: readonly Box[]; cloud: Cloud } | null = null;

  constructor(private readonly editor: Editor) {}

  /** Put everything that is drawn into the scene. */
  addTo(scene: THREE.Scene): void {
    scene.add(makeGround(), this.clouds, this.boxes.object, this.body.object);
  }

  /** Called before every picture. */
  update(orthos: readonly OrthoView[], holding: boolean): void {
    this.showClouds();
    this.showBoxes();
    const selected = this.editor.model.selectedBox;
    this.editor.style.highlightIn(selected);
    if (holding) return;
    for (const view of orthos) if (selected !== null) view.follow(selected);
  }

  /** Draw lines and words over a view. */
  overlay(ink: CanvasRenderingContext2D, view: View, pointer: Pointer): void {
    const { editor } = this;
    const selected = editor.model.selectedBox;
    if (view instanceof OrthoView) {
      drawScale(ink, view);
      const active = pointer.active?.view === view ? pointer.active.handle : null;
      if (selected !== null) drawHandles(ink, view, selected, HIGHLIGHT, active);
    } else {
      for (const box of editor.shown) {
        const wanted = editor.look.names || box === selected || box.track_id === editor.hovered;
        if (wanted) drawName(ink, view, box, this.nameOf(box), this.colorOf(box));
      }
    }
    if (pointer.sketch !== null) drawOutline(ink, view, pointer.sketch.corners, HIGHLIGHT);
  }

  private nameOf(box: Box): string {
    const count = this.editor.countIn(box);
    const name = `${box.category.replaceAll("_", " ")} ${shortId(box.track_id)}`;
    return count === null ? name : `${name} · ${count} pts`;
  }

  private colorOf(box: Box): Rgb {
    return box.track_id === this.editor.model.selected
      ? HIGHLIGHT
      : this.editor.colorOf(box.category);
  }

  private showBoxes(): void {
    const { editor } = this;
    const { selected } = editor.model;
    let chosen: BoxLook | null = null;
    const looks = editor.shown.map((box): BoxLook => {
      const on = box.track_id === selected;
      const hovered = box.track_id === editor.hovered;
      const look = {
        center_xyz_m: box.center_xyz_m,
        size_lwh_m: box.size_lwh_m,
        yaw_rad: box.yaw_rad,
        color: this.colorOf(box),
        alpha: on || hovered ? 1 : 0.85,
        width: on ? 2 : hovered ? 2.2 : 1.3,
        dash: isProposal(box) ? 6 : 0,
      };
      if (on) chosen = look;
      return look;
    });
    this.boxes.set(looks);
    this.body.set(chosen);
  }

  private showClouds(): void {
    const { editor } = this;
    const { frame, motion } = editor.model;
    this.clouds.clear();
    for (let f = frame - editor.look.background; f <= frame + editor.look.background; f++) {
      const cloud = f === frame ? editor.cloud : editor.clouds.get(f);
      if (cloud === null) continue;
      const { object } = cloud.drawn;
      object.material = f === frame ? editor.style.current : editor.style.dimmed;
      object.renderOrder = f === frame ? 0 : -1;
      object.matrix.set(...(betweenFrames(motion, f, frame) as Sixteen));
      this.clouds.add(object);
    }
    if (editor.look.mode === "class") this.colorByClass();
  }

  /** Give the points inside boxes the colour of their category. */
  private colorByClass(): void {
    const { cloud, shown, clip } = this.editor;
    if (cloud === null) return;
    const same =
      this.colored?.cloud === cloud &&
      this.colored.boxes.length === shown.length &&
      this.colored.boxes.every((box, i) => box === shown[i]);
    if (same) return;
    this.colored = { boxes: shown, cloud };
    cloud.drawn.setKinds((kinds) => {
      kinds.fill(0);
      for (const box of shown) {
        const kind = 1 + clip.categories.findIndex(({ name }) => name === box.category);
        eachInside(cloud.index, box, (point) => {
          kinds[point] = kind;
        });
      }
    });
  }
}

type Sixteen = Parameters<THREE.Matrix4["set"]>;
