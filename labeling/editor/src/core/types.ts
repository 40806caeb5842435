/**
 * What the editor works on: a task is a clip of frames; tracks are boxes of one object over it.
 *
 * Right-handed, meters, radians. `ego` is x forward, y left, z up; a box is in the ego frame of its
 * own frame. Transforms read `dst_SE3_src`. Fields that travel are named as in the server's JSON.
 */

export type Vec3 = readonly [number, number, number];

/** A rigid transform as 16 numbers, row-major 4 x 4. */
export type SE3 = readonly number[];

/** Where a box came from: drawn by a person, a prelabel as it was, a prelabel that was changed. */
export type BoxOrigin = "manual" | "prediction" | "prediction-changed";

export type Attributes = Readonly<Record<string, string | number | boolean>>;

/** One cuboid in one frame. Never changed in place. */
export interface Box {
  /** Boxes of one object have the same in all frames; unique among the objects of the clip. */
  readonly track_id: string;
  /** Index of the frame in the clip. */
  readonly frame: number;
  readonly category: string;
  /** Centre of the cuboid, ego frame of `frame`. */
  readonly center_xyz_m: Vec3;
  /** Length along the heading, width, height. */
  readonly size_lwh_m: Vec3;
  /** In (-pi, pi], 0 along +x, counter-clockwise. */
  readonly yaw_rad: number;
  readonly origin: BoxOrigin;
  /** Placed by a person or the model; others follow from the key frames around them. */
  readonly key_frame: boolean;
  readonly attributes: Attributes;
  /** Of the model, in [0, 1]; absent for boxes that a person made. */
  readonly score?: number;
}

/**
 * All boxes of one object. Never changed in place.
 *
 * `boxes[f]` is the box in frame f or null. A null between two boxes is a gap: the object is hidden
 * there, and interpolation leaves it so.
 */
export interface Track {
  readonly track_id: string;
  readonly category: string;
  /** One entry a frame of the clip. */
  readonly boxes: readonly (Box | null)[];
}

/** A box that is a key frame of its track. */
export type KeyFrame = Box & { readonly key_frame: true };

/** All tracks of the clip by id, in the order in which they came. Never changed in place. */
export interface Document {
  readonly num_frames: number;
  readonly tracks: ReadonlyMap<string, Track>;
}

export interface Category {
  readonly name: string;
  /** `#rrggbb`. */
  readonly color: string;
  readonly default_size_lwh_m: Vec3;
}

/** An image with what is needed to draw boxes on it. Pinhole, rectified, frame x right, y down, z forward. */
export interface Camera {
  readonly camera: string;
  readonly url: string;
  readonly width: number;
  readonly height: number;
  /** 3 x 3, row-major, pixels. */
  readonly K: readonly number[];
  /** From the ego frame of the sweep's time to the camera at the image's own time. */
  readonly camera_SE3_ego: SE3;
}

export interface Frame {
  readonly index: number;
  /** Nanoseconds; a double holds them to 256 ns, which is enough for differences. */
  readonly timestamp_ns: number;
  readonly map_SE3_ego: SE3;
  readonly points_url: string;
  readonly num_points: number;
  readonly images: readonly Camera[];
}

/** A task as it is opened. */
export interface Clip {
  readonly task_id: string;
  readonly title: string;
  /** Changes when the server makes the task anew; drafts of another version are not taken. */
  readonly version: string;
  readonly categories: readonly Category[];
  readonly frames: readonly Frame[];
}

/** Points of one sweep, ego frame, structure of arrays. */
export interface Points {
  readonly count: number;
  /** (3 N) x, y, z of each point. */
  readonly xyz_m: Float32Array;
  /** (N) in [0, 1]. */
  readonly intensity: Float32Array;
  /** (N) beam number, or null where the sensor does not tell. */
  readonly ring: Uint16Array | null;
  /** (N) nanoseconds after the sweep's start; all 0 where unknown. */
  readonly offset_ns: Int32Array;
}
