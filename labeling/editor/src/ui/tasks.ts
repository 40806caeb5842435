/** The first page where the editor runs alone: the tasks and what is to be done. */

import { Api } from "../core/api";
import type { TaskSummary } from "../core/protocol";
import { h } from "./dom";

/** As many as the server gives at once. */
const PAGE = 200;
const STATES = { waiting: "to do", draft: "begun", submitted: "done" } as const;

/** List the tasks, those to do first. */
export async function showTasks(root: HTMLElement): Promise<void> {
  const api = new Api();
  const list = h("div", { className: "tasks" });
  const more = h("button", { textContent: "More", hidden: true });
  root.className = "start";
  root.replaceChildren(h("h1", { textContent: "Tasks" }), list, more);
  let last = "";
  const load = async () => {
    const tasks = await api.tasks(last);
    list.append(...tasks.map(row));
    last = tasks.at(-1)?.task_id ?? last;
    more.hidden = tasks.length < PAGE;
    if (list.childElementCount === 0) {
      list.append(
        h("p", {
          className: "quiet",
          textContent: "There is nothing to label. Make clips with `starloop label clips`.",
        }),
      );
    }
  };
  more.addEventListener("click", () => void load());
  await load();
}

function row(task: TaskSummary): HTMLElement {
  return h(
    "a",
    {
      href: `?task=${encodeURIComponent(task.task_id)}`,
      className: "task",
      data: { state: task.state },
    },
    h("span", { className: "todo", textContent: STATES[task.state] }),
    h("span", { textContent: task.title }),
    h("span", { className: "quiet number", textContent: `${task.num_frames} frames` }),
    h("span", {
      className: "quiet",
      textContent: task.updated?.slice(0, 16).replace("T", " ") ?? "",
    }),
  );
}
