/** What the four views have in common: a rectangle of the page and a camera. */

import * as THREE from "three";

export type ViewName = "perspective" | "top" | "side" | "front";

/** A point of the page relative to the upper left corner of a view, CSS pixels. */
export interface Pixel {
  x: number;
  y: number;
}

export type Point3 = readonly [number, number, number];

/** One rectangle of the stage that is drawn with its own camera. */
export abstract class View {
  abstract readonly camera: THREE.Camera & { near: number };
  width = 1;
  height = 1;
  /** Upper left corner inside the stage. */
  left = 0;
  top = 0;

  constructor(
    readonly name: ViewName,
    /** Catches the pointer; its place on the page is the place of the view. */
    readonly element: HTMLElement,
  ) {}

  /** Read the rectangle off the page. */
  measure(stage: DOMRect): void {
    const rect = this.element.getBoundingClientRect();
    this.left = rect.left - stage.left;
    this.top = rect.top - stage.top;
    this.width = rect.width;
    this.height = rect.height;
  }

  get visible(): boolean {
    return this.width > 4 && this.height > 4;
  }

  /** Bring the camera up to date with what it looks at and with the rectangle. */
  abstract update(): void;

  /** Return where a point of the ego frame is seen; null behind the camera. */
  project(point: Point3): Pixel | null {
    const view = new THREE.Vector3(...point).applyMatrix4(this.camera.matrixWorldInverse);
    if (view.z > -this.camera.near && this.name === "perspective") return null;
    view.applyMatrix4(this.camera.projectionMatrix);
    return { x: (0.5 + view.x / 2) * this.width, y: (0.5 - view.y / 2) * this.height };
  }

  /** Return the line of sight through a pixel, ego frame. */
  ray(pixel: Pixel): THREE.Ray {
    const x = (pixel.x / this.width) * 2 - 1;
    const y = 1 - (pixel.y / this.height) * 2;
    const from = new THREE.Vector3(x, y, -1).unproject(this.camera);
    const to = new THREE.Vector3(x, y, 1).unproject(this.camera);
    return new THREE.Ray(from, to.sub(from).normalize());
  }

  /** Return where the line of sight meets the level `z`; null if it does not, ahead. */
  onLevel(pixel: Pixel, z: number): [number, number, number] | null {
    const { origin, direction } = this.ray(pixel);
    const along = (z - origin.z) / direction.z;
    if (!Number.isFinite(along) || along <= 0) return null;
    return [origin.x + along * direction.x, origin.y + along * direction.y, z];
  }

  /** Return the matrix from the ego frame to clip space. */
  clipFromEgo(): THREE.Matrix4 {
    const { projectionMatrix, matrixWorldInverse } = this.camera;
    return new THREE.Matrix4().multiplyMatrices(projectionMatrix, matrixWorldInverse);
  }
}
