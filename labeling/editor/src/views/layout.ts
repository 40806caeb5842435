/** The stage: one canvas under four views, drawn when something has changed and not otherwise. */

import * as THREE from "three";
import type { BoxBatch } from "../scene/boxes";
import { BACKGROUND } from "../scene/colors";
import type { PointStyle } from "../scene/points";
import type { View } from "./view";

/** Draws over one view with lines and text; coordinates are CSS pixels of the view. */
export type Overlay = (context: CanvasRenderingContext2D, view: View) => void;

export class Stage {
  readonly scene = new THREE.Scene();
  /** Time that the last picture took, milliseconds. */
  lastDrawMs = 0;
  private readonly renderer: THREE.WebGLRenderer;
  private readonly ink: CanvasRenderingContext2D;
  private request = 0;
  private waiting: (() => void)[] = [];

  constructor(
    private readonly element: HTMLElement,
    private readonly views: readonly View[],
    private readonly boxes: BoxBatch,
    private readonly style: PointStyle,
    private readonly beforeDraw: () => void,
    private readonly overlay: Overlay,
  ) {
    THREE.ColorManagement.enabled = false; // colours here are what the screen shows
    const canvas = element.querySelector("canvas.scene") as HTMLCanvasElement;
    const paper = element.querySelector("canvas.overlay") as HTMLCanvasElement;
    this.renderer = new THREE.WebGLRenderer({
      canvas,
      antialias: true,
      powerPreference: "high-performance",
    });
    this.renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
    this.renderer.autoClear = false;
    this.renderer.setClearColor(new THREE.Color(...BACKGROUND.map((value) => value / 255)));
    this.ink = paper.getContext("2d") as CanvasRenderingContext2D;
    canvas.addEventListener("webglcontextrestored", () => this.invalidate());
    new ResizeObserver(() => this.resize()).observe(element);
    this.resize();
  }

  pointSize = 1.5;

  /** Draw again soon. */
  invalidate(): void {
    if (this.request === 0) this.request = requestAnimationFrame(() => this.draw());
  }

  /** Resolve when the picture on the screen is up to date. */
  idle(): Promise<void> {
    if (this.request === 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** Read the rectangles of the page again and draw. */
  resize(): void {
    const rect = this.element.getBoundingClientRect();
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    this.renderer.setPixelRatio(ratio);
    this.renderer.setSize(rect.width, rect.height, false);
    this.ink.canvas.width = Math.round(rect.width * ratio);
    this.ink.canvas.height = Math.round(rect.height * ratio);
    for (const view of this.views) view.measure(rect);
    this.invalidate();
  }

  private draw(): void {
    this.request = 0;
    const start = performance.now();
    this.beforeDraw();
    const ratio = this.renderer.getPixelRatio();
    const height = this.ink.canvas.height / ratio;
    this.ink.setTransform(1, 0, 0, 1, 0, 0);
    this.ink.clearRect(0, 0, this.ink.canvas.width, this.ink.canvas.height);
    this.renderer.setScissorTest(false);
    this.renderer.clear();
    this.renderer.setScissorTest(true);
    for (const view of this.views) {
      if (!view.visible) continue;
      view.update();
      const bottom = height - view.top - view.height;
      this.renderer.setViewport(view.left, bottom, view.width, view.height);
      this.renderer.setScissor(view.left, bottom, view.width, view.height);
      const perspective = view.name === "perspective";
      const near = perspective ? view.camera.near : -1e6;
      this.boxes.prepare(view.width * ratio, view.height * ratio, ratio, near);
      this.style.prepare(this.pointSize * ratio * (perspective ? 1 : 1.15), perspective);
      this.renderer.render(this.scene, view.camera);
      this.drawOverlay(view, ratio);
    }
    this.lastDrawMs = performance.now() - start;
    if (this.request !== 0) return; // something still moves
    const waiting = this.waiting;
    this.waiting = [];
    for (const resolve of waiting) resolve();
  }

  private drawOverlay(view: View, ratio: number): void {
    this.ink.save();
    this.ink.setTransform(ratio, 0, 0, ratio, view.left * ratio, view.top * ratio);
    this.ink.beginPath();
    this.ink.rect(0, 0, view.width, view.height);
    this.ink.clip();
    this.overlay(this.ink, view);
    this.ink.restore();
  }
}
