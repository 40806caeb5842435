/** What gives the eye a scale: rings of distance on the ground, a grid, and the own vehicle. */

import * as THREE from "three";

const RING_STEP_M = 10;
const RINGS = 10;
const GRID_STEP_M = 10;
const VEHICLE_LWH_M = [4.6, 1.9, 1.6] as const;
const REAR_OVERHANG_M = 1.0;

/** Return the lines on the ground around the ego origin, at height 0 of the ego frame. */
export function makeGround(): THREE.Group {
  const group = new THREE.Group();
  const reach = RING_STEP_M * RINGS;
  const grid: number[] = [];
  for (let at = -reach; at <= reach; at += GRID_STEP_M) {
    grid.push(-reach, at, 0, reach, at, 0, at, -reach, 0, at, reach, 0);
  }
  group.add(lines(grid, 0x1b222c));
  const rings: number[] = [];
  for (let radius = RING_STEP_M; radius <= reach; radius += RING_STEP_M) {
    const steps = 96;
    for (let i = 0; i < steps; i++) {
      for (const k of [i, i + 1]) {
        const angle = (k / steps) * 2 * Math.PI;
        rings.push(radius * Math.cos(angle), radius * Math.sin(angle), 0);
      }
    }
  }
  group.add(lines(rings, 0x2a3442));
  group.add(lines(vehicle(), 0x6b7a8f));
  return group;
}

function vehicle(): number[] {
  const [length, width, height] = VEHICLE_LWH_M;
  const edges = new THREE.EdgesGeometry(new THREE.BoxGeometry(length, width, height));
  edges.translate(length / 2 - REAR_OVERHANG_M, 0, height / 2);
  const nose = length - REAR_OVERHANG_M;
  const arrow = [nose, -width / 2, 0, nose + 0.9, 0, 0, nose + 0.9, 0, 0, nose, width / 2, 0];
  return [...(edges.getAttribute("position").array as Float32Array), ...arrow];
}

function lines(positions: number[], color: number): THREE.LineSegments {
  const geometry = new THREE.BufferGeometry();
  geometry.setAttribute("position", new THREE.Float32BufferAttribute(positions, 3));
  return new THREE.LineSegments(geometry, new THREE.LineBasicMaterial({ color }));
}
