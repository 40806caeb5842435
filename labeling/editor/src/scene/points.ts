/** Point clouds on the graphics card: one buffer per sweep, coloured by one shader. */

import * as THREE from "three";
import type { Shape } from "../core/geometry";
import type { Points } from "../core/types";
import { BACKGROUND, HIGHLIGHT, palette, quantityRamp, type Rgb } from "./colors";

/** What the colour of a point says, in the order of the shader's `mode`. */
export const COLOR_MODES = ["height", "intensity", "distance", "ring", "class", "plain"] as const;
export type ColorMode = (typeof COLOR_MODES)[number];

const VERTEX = /* glsl */ `
  attribute float intensity, ring, kind;
  uniform int mode;
  uniform float low, high, size, dim, attenuate;
  uniform sampler2D ramp, kinds;
  uniform vec3 boxCenter, boxHalf, background, highlight;
  uniform vec2 boxHeading;
  varying vec3 color;

  bool inside(vec3 p) {
    vec3 d = p - boxCenter;
    vec3 local = vec3(d.x * boxHeading.x + d.y * boxHeading.y,
                      d.y * boxHeading.x - d.x * boxHeading.y, d.z);
    return all(lessThanEqual(abs(local), boxHalf));
  }

  void main() {
    vec4 ego = modelMatrix * vec4(position, 1.0);
    vec4 view = viewMatrix * ego;
    gl_Position = projectionMatrix * view;
    float near = clamp(26.0 / max(-view.z, 1.0), 0.75, 2.2);
    gl_PointSize = size * mix(1.0, near, attenuate);
    float value = mode == 0 ? ego.z : mode == 1 ? intensity : mode == 2 ? length(ego.xy) : ring;
    float share = clamp((value - low) / max(high - low, 1e-6), 0.0, 1.0);
    if (mode == 4) color = texture2D(kinds, vec2((kind + 0.5) / 256.0, 0.5)).rgb;
    else if (mode == 5) color = vec3(0.72, 0.76, 0.82);
    else color = texture2D(ramp, vec2(share * 0.996 + 0.002, 0.5)).rgb;
    color = mix(color, background, dim);
    if (inside(ego.xyz)) {
      color = mix(highlight, background, dim * 0.5);
      gl_PointSize += size * 0.5;
    }
  }
`;

const FRAGMENT = /* glsl */ `
  varying vec3 color;
  void main() { gl_FragColor = vec4(color, 1.0); }
`;

function texture(bytes: Uint8Array): THREE.DataTexture {
  const map = new THREE.DataTexture(bytes, 256, 1, THREE.RGBAFormat);
  map.needsUpdate = true;
  return map;
}

const unit = (color: Rgb) => new THREE.Vector3(...color.map((value) => value / 255));

/** The look of points, shared by every sweep in view. */
export class PointStyle {
  readonly current: THREE.ShaderMaterial;
  /** The same, dimmed: for sweeps of other times. */
  readonly dimmed: THREE.ShaderMaterial;

  constructor() {
    const shared = {
      mode: { value: 0 },
      low: { value: -2 },
      high: { value: 3 },
      size: { value: 2 },
      attenuate: { value: 0 },
      ramp: { value: texture(quantityRamp()) },
      kinds: { value: texture(palette([])) },
      boxCenter: { value: new THREE.Vector3() },
      boxHalf: { value: new THREE.Vector3(-1, -1, -1) },
      boxHeading: { value: new THREE.Vector2(1, 0) },
      background: { value: unit(BACKGROUND) },
      highlight: { value: unit(HIGHLIGHT) },
    };
    const make = (dim: number) =>
      new THREE.ShaderMaterial({
        uniforms: { ...shared, dim: { value: dim } },
        vertexShader: VERTEX,
        fragmentShader: FRAGMENT,
      });
    this.current = make(0);
    this.dimmed = make(0.5);
  }

  /** Colour by `mode`, its ramp stretched from `low` to `high` (meters, share or beam number). */
  colorBy(mode: ColorMode, low: number, high: number): void {
    this.set("mode", COLOR_MODES.indexOf(mode));
    this.set("low", low);
    this.set("high", high);
  }

  /** Set the colours of the numbers in `PointCloud.setKinds`. */
  setKindColors(colors: readonly Rgb[]): void {
    const map = this.current.uniforms.kinds.value as THREE.DataTexture;
    (map.image.data as Uint8Array).set(palette(colors));
    map.needsUpdate = true;
  }

  /** Light up the points inside a box; none if null. */
  highlightIn(box: Shape | null): void {
    const half = this.current.uniforms.boxHalf.value as THREE.Vector3;
    if (box === null) {
      half.set(-1, -1, -1);
      return;
    }
    half.set(box.size_lwh_m[0] / 2, box.size_lwh_m[1] / 2, box.size_lwh_m[2] / 2);
    (this.current.uniforms.boxCenter.value as THREE.Vector3).set(...box.center_xyz_m);
    (this.current.uniforms.boxHeading.value as THREE.Vector2).set(
      Math.cos(box.yaw_rad),
      Math.sin(box.yaw_rad),
    );
  }

  /** Size in device pixels; in perspective near points grow. */
  prepare(sizePx: number, perspective: boolean): void {
    this.set("size", sizePx);
    this.set("attenuate", perspective ? 1 : 0);
  }

  private set(name: string, value: number): void {
    this.current.uniforms[name].value = value; // the uniform objects are shared with `dimmed`
  }
}

/** One sweep on the graphics card. */
export class PointCloud {
  readonly object: THREE.Points;
  private readonly kinds: Uint8Array;

  constructor(points: Pick<Points, "count" | "xyz_m" | "intensity">, style: PointStyle) {
    const { count } = points;
    const geometry = new THREE.BufferGeometry();
    this.kinds = new Uint8Array(count);
    geometry.setAttribute("position", new THREE.BufferAttribute(points.xyz_m, 3));
    geometry.setAttribute("intensity", new THREE.BufferAttribute(points.intensity, 1));
    geometry.setAttribute("ring", new THREE.BufferAttribute(new Uint16Array(count), 1));
    geometry.setAttribute("kind", new THREE.BufferAttribute(this.kinds, 1));
    this.object = new THREE.Points(geometry, style.current);
    this.object.frustumCulled = false;
    this.object.matrixAutoUpdate = false;
  }

  /** Set the beam numbers, which are read after the coordinates. */
  setRing(ring: Uint16Array): void {
    this.object.geometry.setAttribute("ring", new THREE.BufferAttribute(ring, 1));
  }

  /** Let a callback write the kind (0 to 255) of every point, then send them. */
  setKinds(write: (kinds: Uint8Array) => void): void {
    write(this.kinds);
    this.object.geometry.getAttribute("kind").needsUpdate = true;
  }

  /** Free the memory on the graphics card. */
  dispose(): void {
    this.object.geometry.dispose();
  }
}
