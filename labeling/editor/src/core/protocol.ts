/**
 * The JSON that travels between the editor and its server, and the checks of what arrives.
 *
 *   GET  /editor/api/tasks                     -> TaskSummary[]
 *   GET  /editor/api/tasks/{task_id}           -> TaskJson
 *   GET  points_url                            -> one sweep in the point codec, as bytes
 *   PUT  /editor/api/tasks/{task_id}/draft     DraftRequest  -> DraftReply
 *   POST /editor/api/tasks/{task_id}/submit    SubmitRequest -> SubmitReply
 *
 * URLs may be relative to the server's root. An error is `{"error": "what, where, what to do"}`
 * with a status of 4xx or 5xx.
 */
import type { Box, Vec3 } from "./types";

export const API = "/editor/api";

/** Of the annotation; a reader refuses any other. */
export const FORMAT = 1;

/** A server refuses all the work that has one box beyond these. */
export const LONGEST_M = 200;
export const FARTHEST_M = 1e5;
export const LONGEST_NAME = 100;

/** `waiting`: nobody began; `draft`: somebody did; `submitted`: there is an answer. */
export type TaskState = "waiting" | "draft" | "submitted";

export interface TaskSummary {
  readonly task_id: string;
  readonly title: string;
  readonly num_frames: number;
  readonly state: TaskState;
  /** Time of the last change, ISO 8601 with zone, or null before the first. */
  readonly updated: string | null;
}

export interface CategoryJson {
  readonly name: string;
  /** `#rrggbb`. */
  readonly color: string;
  readonly default_size_lwh_m: Vec3;
}

/** Rows of a matrix. */
export type RowsJson = readonly (readonly number[])[];

export interface ImageJson {
  readonly camera: string;
  readonly url: string;
  readonly width: number;
  readonly height: number;
  /** 3 rows of 3, pixels; the image is rectified. */
  readonly K: RowsJson;
  /** 4 rows of 4: from the ego frame of the sweep's time to the camera at the image's own time. */
  readonly camera_SE3_ego: RowsJson;
}

export interface FrameJson {
  /** 0, 1, 2 ... */
  readonly index: number;
  readonly timestamp_ns: number;
  /** 4 rows of 4. */
  readonly map_SE3_ego: RowsJson;
  readonly points_url: string;
  readonly num_points: number;
  readonly images: readonly ImageJson[];
}

/** A box as it travels is a box as it is in memory; `score` only in prelabels. */
export type BoxJson = Box;

export interface Events {
  readonly clicks: number;
  readonly keys: number;
  /** Pointer drags. */
  readonly drags: number;
  /** By kind of action (`fit`, `draw`, `propagate`, `accept` ...): how often. */
  readonly actions: Readonly<Record<string, number>>;
  /** By track id: active seconds while the track was selected. */
  readonly seconds_by_track: Readonly<Record<string, number>>;
}

export interface Annotation {
  readonly format: typeof FORMAT;
  readonly boxes: readonly BoxJson[];
  /** Active time, all mounts and sittings together; pauses of a minute and more do not count. */
  readonly time_spent_s: number;
  readonly events: Events;
}

/** What is kept of unfinished work. The newest sequence wins, whoever sent it. */
export interface DraftRequest {
  /** The browser that works on the task: the same for all mounts of the page in it. */
  readonly client_id: string;
  /** Grows with every save; continued from the largest that the client has seen. */
  readonly sequence: number;
  /** Of the task that this is a draft of. */
  readonly version: string;
  /** The piece of work, which Label Studio may hold too; see `own-work.ts`. */
  readonly work_id?: string;
  readonly annotation: Annotation;
}

export interface DraftJson extends DraftRequest {
  /** ISO 8601 with zone, time of the server. */
  readonly saved_at: string;
}

/**
 * What the server keeps now. It stores a draft whose sequence is larger than the stored one's and
 * answers 200 in every case; `stored` is true when what is kept is what was sent (also when it was
 * kept already). After a submit, drafts up to the submitted sequence are not stored.
 */
export interface DraftReply {
  readonly stored: boolean;
  readonly client_id: string;
  readonly sequence: number;
  readonly saved_at: string;
}

export interface SubmitRequest {
  /** Made once for one press of the button; sent again with every retry. */
  readonly submission_id: string;
  readonly client_id: string;
  /** Of the last draft that it contains. */
  readonly sequence: number;
  readonly version: string;
  readonly annotation: Annotation;
  readonly lead_time_s: number;
}

export interface SubmitReply {
  readonly submission_id: string;
  /** Id of the stored answer; the same for every retry. */
  readonly annotation_id: string;
}

export interface TaskJson {
  readonly task_id: string;
  /** Whom the server takes the asker for; work kept in the browser is told apart by it. */
  readonly labeller: string;
  readonly title: string;
  readonly version: string;
  readonly categories: readonly CategoryJson[];
  readonly frames: readonly FrameJson[];
  /** All frames' prelabels; `origin` is "prediction" and `key_frame` true. */
  readonly prelabels: readonly BoxJson[];
  /** The answer submitted last by this person, if there is one. */
  readonly annotation: Annotation | null;
  readonly draft: DraftJson | null;
}

export interface ErrorJson {
  readonly error: string;
}
