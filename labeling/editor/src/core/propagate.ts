/** The box of a track goes on to the next frame: where motion puts it, then onto the points. */
import { boxAt, EditError, trackOf } from "./document";
import { type Motion, predict } from "./motion";
import { refit } from "./refit";
import type { Box, Document, Points } from "./types";

/**
 * Return the box of a track for another frame, to be placed with `placeBox`.
 *
 * @param points of the frame `to`; without them, or with too few near, motion alone tells.
 * @throws EditError if the track has no box in the frame `from`.
 */
export function propagate(
  document: Document,
  motion: Motion,
  trackId: string,
  from: number,
  to: number,
  points: Pick<Points, "xyz_m"> | null,
): Box {
  const box = boxAt(document, trackId, from);
  if (!box) throw new EditError(`track ${trackId} has no box in frame ${from}`);
  if (to < 0 || to >= document.num_frames) throw new EditError(`there is no frame ${to}`);
  const guess = predict(motion, trackOf(document, trackId), box, to);
  if (!points) return guess;
  return { ...guess, ...refit(points, guess).shape };
}
