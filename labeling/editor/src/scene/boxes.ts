/** All boxes of a frame in one draw call: wide lines, each an instance of a unit box. */

import * as THREE from "three";
import type { Shape } from "../core/geometry";
import type { Rgb } from "./colors";

/** How one box is drawn. */
export interface BoxLook extends Shape {
  color: Rgb;
  alpha: number;
  /** Width of its lines, CSS pixels. */
  width: number;
  /** Length of dashes, CSS pixels; 0 for solid lines. */
  dash: number;
}

/** Ends of the lines of a unit box, (12 + 2) * 6 numbers: edges, then the arrow on its roof. */
const SEGMENTS: readonly (readonly number[])[] = [
  ...[-0.5, 0.5].flatMap((z) => [
    [-0.5, -0.5, z, 0.5, -0.5, z],
    [0.5, -0.5, z, 0.5, 0.5, z],
    [0.5, 0.5, z, -0.5, 0.5, z],
    [-0.5, 0.5, z, -0.5, -0.5, z],
  ]),
  ...[
    [-0.5, -0.5],
    [0.5, -0.5],
    [0.5, 0.5],
    [-0.5, 0.5],
  ].map(([x, y]) => [x, y, -0.5, x, y, 0.5]),
  [0.12, -0.5, 0.5, 0.5, 0, 0.5],
  [0.12, 0.5, 0.5, 0.5, 0, 0.5],
];

const VERTEX = /* glsl */ `
  attribute vec3 start, end, boxCenter, boxSize;
  attribute vec2 corner;
  attribute vec4 boxColor;
  attribute vec3 boxStyle;  // yaw, width, dash
  uniform vec2 resolution;
  uniform float nearest, pixelRatio;
  varying vec4 color;
  varying vec2 dash;  // distance along the line, length of a dash; device pixels

  vec4 place(vec3 p) {
    vec3 s = p * boxSize;
    float c = cos(boxStyle.x), n = sin(boxStyle.x);
    return viewMatrix * vec4(boxCenter + vec3(c * s.x - n * s.y, n * s.x + c * s.y, s.z), 1.0);
  }

  void main() {
    vec4 a = place(start), b = place(end);
    // What lies behind the eye would be mirrored by the division: cut the line at the near plane.
    if (a.z > nearest && b.z > nearest) { gl_Position = vec4(2.0, 2.0, 2.0, 1.0); return; }
    if (a.z > nearest) a = mix(b, a, (nearest - b.z) / (a.z - b.z));
    if (b.z > nearest) b = mix(a, b, (nearest - a.z) / (b.z - a.z));
    vec4 from = projectionMatrix * a, to = projectionMatrix * b;
    vec2 along = (to.xy / to.w - from.xy / from.w) * resolution * 0.5;
    float reach = length(along);
    vec2 unit = reach > 1e-4 ? along / reach : vec2(1.0, 0.0);
    float half_px = 0.5 * boxStyle.y * pixelRatio;
    vec2 shift = (vec2(-unit.y, unit.x) * corner.y + unit * (corner.x * 2.0 - 1.0) * 0.8) * half_px;
    vec4 clip = corner.x < 0.5 ? from : to;
    clip.xy += shift * 2.0 / resolution * clip.w;
    gl_Position = clip;
    color = boxColor;
    dash = vec2(corner.x * reach, boxStyle.z * pixelRatio);
  }
`;

const FRAGMENT = /* glsl */ `
  varying vec4 color;
  varying vec2 dash;
  void main() {
    if (dash.y > 0.0 && mod(dash.x, dash.y * 1.7) > dash.y) discard;
    gl_FragColor = color;
  }
`;

/** The boxes of the current frame. */
export class BoxBatch {
  readonly object: THREE.Mesh;
  private readonly geometry = new THREE.InstancedBufferGeometry();
  private readonly material: THREE.ShaderMaterial;
  private capacity = 0;

  constructor() {
    const start: number[] = [],
      end: number[] = [],
      corner: number[] = [],
      index: number[] = [];
    SEGMENTS.forEach((segment, i) => {
      for (const [t, side] of [
        [0, -1],
        [0, 1],
        [1, -1],
        [1, 1],
      ]) {
        start.push(...segment.slice(0, 3));
        end.push(...segment.slice(3));
        corner.push(t, side);
      }
      index.push(...[0, 1, 2, 2, 1, 3].map((vertex) => vertex + i * 4));
    });
    this.geometry.setAttribute("start", new THREE.Float32BufferAttribute(start, 3));
    this.geometry.setAttribute("end", new THREE.Float32BufferAttribute(end, 3));
    this.geometry.setAttribute("corner", new THREE.Float32BufferAttribute(corner, 2));
    this.geometry.setIndex(index);
    this.geometry.instanceCount = 0;
    this.material = new THREE.ShaderMaterial({
      uniforms: {
        resolution: { value: new THREE.Vector2(1, 1) },
        nearest: { value: -0.1 },
        pixelRatio: { value: 1 },
      },
      vertexShader: VERTEX,
      fragmentShader: FRAGMENT,
      side: THREE.DoubleSide,
      transparent: true,
      depthWrite: false,
    });
    this.object = new THREE.Mesh(this.geometry, this.material);
    this.object.frustumCulled = false;
    this.object.renderOrder = 2;
  }

  /** Show these boxes and no others. */
  set(boxes: readonly BoxLook[]): void {
    this.reserve(boxes.length);
    const of = (name: string) => {
      const attribute = this.geometry.getAttribute(name);
      attribute.needsUpdate = true;
      return attribute.array as Float32Array;
    };
    const center = of("boxCenter"),
      size = of("boxSize"),
      color = of("boxColor");
    const style = of("boxStyle");
    boxes.forEach((box, i) => {
      center.set(box.center_xyz_m, i * 3);
      size.set(box.size_lwh_m, i * 3);
      style.set([box.yaw_rad, box.width, box.dash], i * 3);
      color.set([box.color[0] / 255, box.color[1] / 255, box.color[2] / 255, box.alpha], i * 4);
    });
    this.geometry.instanceCount = boxes.length;
  }

  /** Tell the shader about the view that is drawn next; `near` is where its camera begins. */
  prepare(widthPx: number, heightPx: number, pixelRatio: number, near: number): void {
    (this.material.uniforms.resolution.value as THREE.Vector2).set(widthPx, heightPx);
    this.material.uniforms.pixelRatio.value = pixelRatio;
    this.material.uniforms.nearest.value = -near;
  }

  private reserve(count: number): void {
    if (count <= this.capacity && this.capacity > 0) return;
    this.capacity = Math.max(64, count * 2);
    const widths = { boxCenter: 3, boxSize: 3, boxColor: 4, boxStyle: 3 };
    this.geometry.dispose(); // the attributes on the card have the old length
    for (const [name, width] of Object.entries(widths)) {
      const array = new Float32Array(this.capacity * width);
      const attribute = new THREE.InstancedBufferAttribute(array, width);
      this.geometry.setAttribute(name, attribute.setUsage(THREE.DynamicDrawUsage));
    }
  }
}

/** The glass body of the selected box; its front is brighter, so that the heading is seen. */
export class BoxBody {
  readonly object: THREE.Mesh;
  private readonly faces: THREE.MeshBasicMaterial[];

  constructor() {
    const glass = (opacity: number) =>
      new THREE.MeshBasicMaterial({ transparent: true, opacity, depthWrite: false });
    const body = glass(0.06);
    this.faces = [glass(0.3), body]; // the first face of the geometry is +x
    const materials = [this.faces[0], body, body, body, body, body];
    this.object = new THREE.Mesh(new THREE.BoxGeometry(1, 1, 1), materials);
    this.object.renderOrder = 1;
    this.object.visible = false;
  }

  /** Show it on a box, or not at all. */
  set(box: BoxLook | null): void {
    this.object.visible = box !== null;
    if (box === null) return;
    this.object.position.set(...box.center_xyz_m);
    this.object.scale.set(...box.size_lwh_m);
    this.object.rotation.set(0, 0, box.yaw_rad);
    for (const face of this.faces) face.color.setRGB(...(box.color.map((v) => v / 255) as Rgb3));
  }
}

type Rgb3 = [number, number, number];
