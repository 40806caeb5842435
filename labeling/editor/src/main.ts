/** Opens the task that the address names, or lists what there is to do. */

import "./styles.css";
import { App } from "./app";
import { LabelStudioHost } from "./bridge/label_studio";
import { Editor } from "./editor";
import { exposeProbe } from "./probe";
import { Session } from "./session";
import { h } from "./ui/dom";
import { offerOther } from "./ui/recovery";
import { Status } from "./ui/status";
import { showTasks } from "./ui/tasks";

async function start(root: HTMLElement): Promise<void> {
  const taskId = new URLSearchParams(location.search).get("task");
  if (taskId === null) return showTasks(root);
  root.replaceChildren(h("p", { className: "opening", textContent: "Opening the task…" }));
  const session = await Session.open(taskId, (id) => LabelStudioHost.find(id));
  const editor = new Editor(session.task.clip, session.model);
  editor.counted = (action) => session.effort.action(action);
  const status = new Status(() => session.keepMine());
  const app = new App(editor, session, status, root);
  session.onStatus((save) => status.show(save));
  countEffort(session);
  exposeProbe(app);
  const notice = h("div", { className: "notice", role: "alert", hidden: true });
  root.append(notice);
  session.onHostStatus((host) => {
    notice.hidden = host.kind === "ready";
    notice.textContent = host.kind === "ready" ? "" : host.why;
  });
  if (session.origin !== "") editor.say(session.origin);
  void offerOther(session, editor);
  document.title = `${session.task.clip.title} – Starloop`;
}

/** Count clicks, drags and the time in which the person is there. */
function countEffort({ effort }: Session): void {
  let from: { x: number; y: number } | null = null;
  window.addEventListener("pointerdown", ({ clientX: x, clientY: y }) => {
    from = { x, y };
  });
  window.addEventListener("pointerup", ({ clientX, clientY }) => {
    if (from === null) return;
    if (Math.hypot(clientX - from.x, clientY - from.y) < 4) effort.click();
    else effort.drag();
    from = null;
  });
  for (const event of ["pointermove", "wheel"]) {
    window.addEventListener(event, () => effort.active(), { passive: true });
  }
}

const root = document.getElementById("app") as HTMLElement;
start(root).catch((error: Error) => {
  root.className = "";
  const again = h("button", { textContent: "Try again" });
  again.addEventListener("click", () => location.reload());
  root.replaceChildren(
    h("div", { className: "opening" }, h("p", { textContent: error.message }), again),
  );
});
