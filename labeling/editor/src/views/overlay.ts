/** Lines and words over the pictures: handles, sizes, names, the rectangle that is being drawn. */

import type { Box } from "../core/types";
import { css, HIGHLIGHT, type Rgb } from "../scene/colors";
import { type Handle, halfExtent, knob } from "./handles";
import type { OrthoView } from "./ortho";
import type { Pixel, Point3, View } from "./view";

const FONT = "11px system-ui, sans-serif";
const NUMBERS = "11px ui-monospace, Menlo, Consolas, monospace";
const DIM = "rgb(139 152 170)";

/** Draw the frame with handles of the selected box, and its sizes. */
export function drawHandles(
  ink: CanvasRenderingContext2D,
  view: OrthoView,
  box: Box,
  color: Rgb,
  active: Handle | null,
): void {
  const plane = view.plane(box);
  const [right, up] = halfExtent(box, plane);
  const { x, y } = plane.middle;
  ink.strokeStyle = css(color, 0.9);
  ink.lineWidth = 1;
  drawKnob(
    ink,
    knob(box, plane),
    [x + (plane.axes[1] === 1 ? right : 0), y - (plane.axes[1] === 1 ? 0 : up)],
    active,
  );
  for (const [i, j] of [
    [-1, -1],
    [0, -1],
    [1, -1],
    [-1, 0],
    [1, 0],
    [-1, 1],
    [0, 1],
    [1, 1],
  ]) {
    const grabbed = active?.kind === "face" && active.right === i && active.up === j;
    const half = grabbed ? 5 : i !== 0 && j !== 0 ? 3.5 : 3;
    ink.fillStyle = grabbed ? css(HIGHLIGHT) : "#0d1117";
    ink.beginPath();
    ink.rect(x + i * right - half, y - j * up - half, 2 * half, 2 * half);
    ink.fill();
    ink.stroke();
  }
  ink.font = NUMBERS;
  ink.textAlign = "center";
  const meters = (axis: number) => `${box.size_lwh_m[axis].toFixed(2)}`;
  label(ink, meters(plane.axes[0]), x, Math.min(view.height - 6, y + up + 16));
  ink.save();
  ink.translate(Math.max(12, x - right - 9), y);
  ink.rotate(-Math.PI / 2);
  label(ink, meters(plane.axes[1]), 0, 0);
  ink.restore();
}

function drawKnob(
  ink: CanvasRenderingContext2D,
  at: Pixel,
  from: readonly [number, number],
  active: Handle | null,
): void {
  ink.beginPath();
  ink.moveTo(...(from as [number, number]));
  ink.lineTo(at.x, at.y);
  ink.stroke();
  ink.beginPath();
  ink.arc(at.x, at.y, active?.kind === "turn" ? 7 : 5.5, 0, 2 * Math.PI);
  ink.fillStyle = active?.kind === "turn" ? css(HIGHLIGHT) : "#0d1117";
  ink.fill();
  ink.stroke();
  ink.beginPath();
  ink.arc(at.x, at.y, 2.5, -Math.PI * 0.8, Math.PI * 0.6);
  ink.stroke();
}

/** Draw text that stays legible over points. */
export function label(ink: CanvasRenderingContext2D, text: string, x: number, y: number): void {
  ink.lineWidth = 3;
  ink.strokeStyle = "rgb(13 17 23 / 0.85)";
  ink.strokeText(text, x, y);
  ink.fillStyle = "#d7dee8";
  ink.fillText(text, x, y);
  ink.lineWidth = 1;
}

/** Write a name over a box in the large view. */
export function drawName(
  ink: CanvasRenderingContext2D,
  view: View,
  box: Box,
  text: string,
  color: Rgb,
): void {
  const [x, y, z] = box.center_xyz_m;
  const at = view.project([x, y, z + box.size_lwh_m[2] / 2 + 0.25]);
  if (at === null) return;
  ink.font = FONT;
  ink.textAlign = "center";
  const width = ink.measureText(text).width + 10;
  ink.fillStyle = "rgb(13 17 23 / 0.8)";
  ink.beginPath();
  ink.roundRect(at.x - width / 2, at.y - 18, width, 16, 3);
  ink.fill();
  ink.fillStyle = css(color);
  ink.fillText(text, at.x, at.y - 6);
}

/** Draw a closed line through points of the ego frame. */
export function drawOutline(
  ink: CanvasRenderingContext2D,
  view: View,
  corners: readonly Point3[],
  color: Rgb,
): void {
  const pixels = corners.map((corner) => view.project(corner));
  if (pixels.includes(null)) return;
  ink.beginPath();
  for (const pixel of pixels as Pixel[]) ink.lineTo(pixel.x, pixel.y);
  ink.closePath();
  ink.fillStyle = css(color, 0.15);
  ink.fill();
  ink.strokeStyle = css(color);
  ink.lineWidth = 1.5;
  ink.stroke();
}

/** Draw a bar that says how long a meter is. */
export function drawScale(ink: CanvasRenderingContext2D, view: OrthoView): void {
  const length = [0.5, 1, 2, 5, 10, 20, 50].find((meters) => meters * view.scale >= 36) ?? 100;
  const [x, y] = [view.width - 10, view.height - 9];
  const from = x - length * view.scale;
  ink.strokeStyle = DIM;
  ink.lineWidth = 1;
  ink.beginPath();
  ink.moveTo(from, y - 3);
  ink.lineTo(from, y);
  ink.lineTo(x, y);
  ink.lineTo(x, y - 3);
  ink.stroke();
  ink.font = FONT;
  ink.textAlign = "right";
  ink.fillStyle = DIM;
  ink.fillText(`${length} m`, x, y - 5);
}
