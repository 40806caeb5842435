/** Asks about other unfinished work on a task, found when it was opened. */

import { documentOf } from "../core/document";
import type { Editor } from "../editor";
import type { Session } from "../session";
import { ask } from "./dialog";

const [TAKE, KEEP] = ["Take that one", "Keep this one"];

/** Let the person choose; what is taken can be undone. */
export async function offerOther(session: Session, editor: Editor): Promise<void> {
  const { other } = session;
  if (other === null) return;
  const saved = new Date(other.saved_at_ms).toLocaleString();
  const here = session.model.document.tracks.size;
  const there = new Set(other.annotation.boxes.map((box) => box.track_id)).size;
  const answer = await ask(
    `There is other unfinished work on this task, of ${saved}: ${there} objects; here are ${here}.`,
    [TAKE, KEEP],
  );
  if (answer === null) return; // asked again the next time
  if (answer === TAKE)
    editor.edit("take other work", (document) =>
      documentOf(other.annotation.boxes, document.num_frames),
    );
  await session.forgetOther();
}
