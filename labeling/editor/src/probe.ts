/**
 * `window.starloopEditor`: what is on the screen, for tests. It only reads; nothing of the page uses it.
 *
 *   state()                  frame, selection, boxes of the frame, tool, what is still loading
 *   project(view, [x, y, z]) where a point of the ego frame is on the page, CSS pixels; null behind
 *   handle(view, right, up)  where a face (0, 1), edge or corner (1, 1) of the selected box is; "turn"
 *   idle()                   resolves when points are here and the picture is up to date
 */

import { proposals } from "./actions/tracks";
import type { App } from "./app";
import { halfExtent, knob } from "./views/handles";
import { OrthoView } from "./views/ortho";
import type { Point3, ViewName } from "./views/view";

type OnPage = { x: number; y: number } | null;

export function exposeProbe(app: App): void {
  const { editor } = app;
  const viewOf = (name: ViewName) => app.views.find((view) => view.name === name);
  const onPage = (name: ViewName, pixel: OnPage): OnPage => {
    const rect = viewOf(name)?.element.getBoundingClientRect();
    return pixel && rect ? { x: rect.left + pixel.x, y: rect.top + pixel.y } : null;
  };
  const probe = {
    state: () => ({
      task_id: editor.clip.task_id,
      frame: editor.model.frame,
      num_frames: editor.clip.frames.length,
      selected: editor.model.selected,
      tool: editor.tool,
      boxes: editor.model.boxes,
      num_tracks: editor.model.document.tracks.size,
      num_proposals: proposals(editor.model.document).length,
      num_points: (editor.cloud?.xyz_m.length ?? 0) / 3,
      selected_points: editor.model.selectedBox && editor.countIn(editor.model.selectedBox),
      color: editor.look.mode,
      undo: editor.model.undoLabel,
      message: editor.message?.text ?? null,
      submitted: app.submitted,
      draw_ms: app.stage.lastDrawMs,
    }),
    project: (name: ViewName, point: Point3): OnPage =>
      onPage(name, viewOf(name)?.project(point) ?? null),
    handle: (name: ViewName, right: number | "turn", up = 0): OnPage => {
      const [view, box] = [viewOf(name), editor.model.selectedBox];
      if (!(view instanceof OrthoView) || box === null) return null;
      const plane = view.plane(box);
      if (right === "turn") return onPage(name, knob(box, plane));
      const [x, y] = halfExtent(box, plane);
      return onPage(name, { x: plane.middle.x + right * x, y: plane.middle.y - up * y });
    },
    idle: async (): Promise<void> => {
      await editor.clouds.load(editor.model.frame);
      await Promise.resolve(); // panels are brought up to date in a microtask
      await app.stage.idle();
    },
  };
  Object.assign(window, { starloopEditor: Object.freeze(probe) });
}
