/** From the JSON of the server to the editor's types, with checks, and back. */
import { allBoxes } from "./document";
import { wrapAngle } from "./pose";
import { type Annotation, type DraftJson, type Events, FORMAT, type TaskJson } from "./protocol";
import type { Box, Camera, Category, Clip, Document, Frame, SE3, Vec3 } from "./types";

/** The server sent what breaks the protocol. */
export class ProtocolError extends Error {
  constructor(message: string) {
    super(`${message}; the server and this page are not of one version: reload, then tell us`);
    this.name = "ProtocolError";
  }
}

/** A task with what there is of work on it. */
export interface OpenTask {
  readonly clip: Clip;
  /** Whom the server takes us for. */
  readonly labeller: string;
  readonly prelabels: readonly Box[];
  /** Submitted last by this person. */
  readonly annotation: Annotation | null;
  readonly draft: DraftJson | null;
}

/**
 * Return the task of the server's answer.
 *
 * @throws ProtocolError if something in it is missing or has the wrong shape, and says what.
 */
export function readTask(json: TaskJson): OpenTask {
  const where = `task ${json?.task_id}`;
  if (!Array.isArray(json?.frames) || !json.frames.length)
    throw new ProtocolError(`${where} has no frames`);
  if (!Array.isArray(json.categories) || !json.categories.length)
    throw new ProtocolError(`${where} has no categories`);
  const clip: Clip = {
    task_id: json.task_id,
    title: json.title,
    version: json.version,
    categories: json.categories.map(
      (category): Category => ({
        ...category,
        default_size_lwh_m: vector(category.default_size_lwh_m, `${where}, ${category.name}`),
      }),
    ),
    frames: json.frames.map((frame, i) => readFrame(frame, i, `${where}, frame ${i}`)),
  };
  return {
    clip,
    labeller: json.labeller ?? "",
    prelabels: readBoxes(json.prelabels, clip.frames.length, `${where}, prelabels`),
    annotation: json.annotation && readAnnotation(json.annotation, clip, `${where}, answer`),
    draft: json.draft && {
      ...json.draft,
      annotation: readAnnotation(json.draft.annotation, clip, `${where}, draft`),
    },
  };
}

function readFrame(json: TaskJson["frames"][number], index: number, where: string): Frame {
  if (json.index !== index) throw new ProtocolError(`${where} calls itself ${json.index}`);
  return {
    index,
    timestamp_ns: json.timestamp_ns,
    map_SE3_ego: matrix(json.map_SE3_ego, 4, `${where}, map_SE3_ego`),
    points_url: json.points_url,
    num_points: json.num_points,
    images: json.images.map((image): Camera => {
      const camera = `${where}, camera ${image.camera}`;
      return {
        ...image,
        K: matrix(image.K, 3, `${camera}, K`),
        camera_SE3_ego: matrix(image.camera_SE3_ego, 4, `${camera}, camera_SE3_ego`),
      };
    }),
  };
}

function readAnnotation(json: Annotation, clip: Clip, where: string): Annotation {
  if (json.format !== FORMAT)
    throw new ProtocolError(`${where} is of format ${json.format}, not ${FORMAT}`);
  return { ...json, boxes: readBoxes(json.boxes, clip.frames.length, where) };
}

function readBoxes(json: readonly Box[], numFrames: number, where: string): Box[] {
  if (!Array.isArray(json)) throw new ProtocolError(`${where}: boxes are no list`);
  return json.map((box, i) => {
    const which = `${where}, box ${i}`;
    if (!(box.frame >= 0 && box.frame < numFrames && Number.isInteger(box.frame)))
      throw new ProtocolError(`${which}: frame ${box.frame} of ${numFrames}`);
    const size = vector(box.size_lwh_m, `${which}, size_lwh_m`);
    if (size.some((value) => value <= 0)) throw new ProtocolError(`${which}: size ${size}`);
    if (!Number.isFinite(box.yaw_rad)) throw new ProtocolError(`${which}: yaw ${box.yaw_rad}`);
    return {
      ...box,
      track_id: String(box.track_id),
      center_xyz_m: vector(box.center_xyz_m, `${which}, center_xyz_m`),
      size_lwh_m: size,
      yaw_rad: wrapAngle(box.yaw_rad),
      attributes: box.attributes ?? {},
    };
  });
}

function vector(json: readonly number[], where: string): Vec3 {
  if (!Array.isArray(json) || json.length !== 3 || !json.every(Number.isFinite))
    throw new ProtocolError(`${where} is not 3 numbers`);
  return [json[0], json[1], json[2]];
}

function matrix(rows: readonly (readonly number[])[], side: number, where: string): SE3 {
  const right =
    Array.isArray(rows) &&
    rows.length === side &&
    rows.every((row) => row.length === side && row.every(Number.isFinite));
  if (!right) throw new ProtocolError(`${where} is not ${side} rows of ${side} numbers`);
  return rows.flat();
}

const PER_METER = 1e4;
const PER_RADIAN = 1e5;
const rounded = (value: number, steps: number) => Math.round(value * steps) / steps;

/** Boxes never change, so each is made ready once. */
const ready = new WeakMap<Box, Box>();

function forServer(box: Box): Box {
  let made = ready.get(box);
  if (!made) {
    const { score: _, ...rest } = box;
    const meters = ([x, y, z]: Vec3): Vec3 => [
      rounded(x, PER_METER),
      rounded(y, PER_METER),
      rounded(z, PER_METER),
    ];
    made = {
      ...rest,
      center_xyz_m: meters(box.center_xyz_m),
      size_lwh_m: meters(box.size_lwh_m),
      yaw_rad: rounded(wrapAngle(box.yaw_rad), PER_RADIAN),
    };
    ready.set(box, made);
  }
  return made;
}

/**
 * Return what is sent to the server: boxes to a tenth of a millimeter and a hundred-thousandth of
 * a radian, so that a draft of thousands of boxes stays small.
 */
export function annotationOf(
  document: Document,
  effort: { readonly time_spent_s: number; readonly events: Events },
): Annotation {
  return { format: FORMAT, boxes: allBoxes(document).map(forServer), ...effort };
}
