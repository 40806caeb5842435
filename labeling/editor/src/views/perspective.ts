/** The large view: turn, shift and approach with the mouse; fly to a box; look straight down. */

import * as THREE from "three";
import { type Pixel, type Point3, View } from "./view";

const FIELD_OF_VIEW_DEG = 50;
const RADIANS_PER_PIXEL = 0.006;
const ZOOM_PER_NOTCH = 1.15;
const FLIGHT_MS = 220;
/** An object this near to the middle is what the person looks at. */
const LOOKED_AT_M = 10;
const STRAIGHT_DOWN = Math.PI / 2 - 1e-4;

interface Pose {
  target: THREE.Vector3;
  distance: number;
  /** Direction of sight on the ground: 0 looks along +x. */
  azimuth: number;
  /** Angle of the eye above the ground. */
  elevation: number;
}

const HOME = { distance: 38, azimuth: 0, elevation: 0.55 };

export class PerspectiveView extends View {
  readonly camera = new THREE.PerspectiveCamera(FIELD_OF_VIEW_DEG, 1, 0.3, 1500);
  private pose: Pose = { target: new THREE.Vector3(12, 0, 0), ...HOME };
  private flight: { from: Pose; to: Pose; start: number } | null = null;

  constructor(
    element: HTMLElement,
    private readonly changed: () => void,
  ) {
    super("perspective", element);
  }

  /** Whether the camera still moves by itself. */
  get flying(): boolean {
    return this.flight !== null;
  }

  get target(): Point3 {
    return this.pose.target.toArray() as [number, number, number];
  }

  get azimuth(): number {
    return this.pose.azimuth;
  }

  update(): void {
    this.advance();
    const { target, distance, azimuth, elevation } = this.pose;
    const flat = Math.cos(elevation) * distance;
    this.camera.position.set(
      target.x - flat * Math.cos(azimuth),
      target.y - flat * Math.sin(azimuth),
      target.z + Math.sin(elevation) * distance,
    );
    this.camera.up.set(0, 0, 1);
    this.camera.near = Math.max(0.1, distance * 0.01);
    this.camera.lookAt(target);
    this.camera.aspect = this.width / this.height;
    this.camera.updateProjectionMatrix();
    this.camera.updateMatrixWorld();
  }

  /** Turn about the target by a drag. */
  turn(dx: number, dy: number): void {
    this.flight = null;
    this.pose.azimuth -= dx * RADIANS_PER_PIXEL;
    const elevation = this.pose.elevation + dy * RADIANS_PER_PIXEL;
    this.pose.elevation = Math.min(STRAIGHT_DOWN, Math.max(-0.1, elevation));
    this.changed();
  }

  /** Shift the target with the ground under the pointer. */
  shift(from: Pixel, to: Pixel): void {
    this.flight = null;
    const a = this.onLevel(from, this.pose.target.z);
    const b = this.onLevel(to, this.pose.target.z);
    const reach = 3 * this.pose.distance;
    if (a === null || b === null || Math.hypot(a[0] - b[0], a[1] - b[1]) > reach) return;
    this.pose.target.x += a[0] - b[0];
    this.pose.target.y += a[1] - b[1];
    this.changed();
  }

  /** Come nearer (negative notches) or go away, keeping the ground under the pointer in place. */
  zoom(notches: number, at: Pixel): void {
    this.flight = null;
    const factor = ZOOM_PER_NOTCH ** notches;
    const distance = Math.min(400, Math.max(1.5, this.pose.distance * factor));
    const ground = this.onLevel(at, this.pose.target.z);
    const { target } = this.pose;
    if (ground !== null && Math.hypot(ground[0] - target.x, ground[1] - target.y) < 120) {
      const share = 1 - distance / this.pose.distance;
      target.x += (ground[0] - target.x) * share;
      target.y += (ground[1] - target.y) * share;
    }
    this.pose.distance = distance;
    this.changed();
  }

  /** Fly so that a thing of `size` meters at `center` fills a good part of the view. */
  flyTo(center: Point3, size: number): void {
    const distance = Math.max(7, size * 3.2);
    this.fly({ target: new THREE.Vector3(...center), distance });
  }

  /** Shift along with a box without coming nearer. */
  lookAt(center: Point3): void {
    this.fly({ target: new THREE.Vector3(...center) });
  }

  /** Go along with an object that is looked at, from where it was in one frame to the next. */
  goAlong(from: Point3, to: Point3): void {
    const { target } = this.pose;
    if (Math.hypot(from[0] - target.x, from[1] - target.y) > LOOKED_AT_M) return;
    this.flight = null;
    target.x += to[0] - from[0];
    target.y += to[1] - from[1];
    this.changed();
  }

  /** Look straight down. */
  lookDown(): void {
    this.fly({ elevation: STRAIGHT_DOWN });
  }

  /** Look straight down, or from the side again. */
  toggleTopDown(): void {
    if (this.pose.elevation < 1.4) this.lookDown();
    else this.fly({ elevation: HOME.elevation });
  }

  /** Go back behind the own vehicle. */
  home(): void {
    this.fly({ target: new THREE.Vector3(12, 0, 0), ...HOME });
  }

  private fly(change: Partial<Pose>): void {
    const from = { ...this.pose, target: this.pose.target.clone() };
    const turn = (change.azimuth ?? from.azimuth) - from.azimuth;
    from.azimuth += 2 * Math.PI * Math.round(turn / (2 * Math.PI));
    this.flight = { from, to: { ...from, ...change }, start: performance.now() };
    this.changed();
  }

  private advance(): void {
    if (this.flight === null) return;
    const { from, to, start } = this.flight;
    const time = Math.min(1, (performance.now() - start) / FLIGHT_MS);
    const share = time * time * (3 - 2 * time);
    const mix = (a: number, b: number) => a + (b - a) * share;
    this.pose = {
      target: from.target.clone().lerp(to.target, share),
      distance: mix(from.distance, to.distance),
      azimuth: mix(from.azimuth, to.azimuth),
      elevation: mix(from.elevation, to.elevation),
    };
    if (time >= 1) this.flight = null;
    this.changed();
  }
}
