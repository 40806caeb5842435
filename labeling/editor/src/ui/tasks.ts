/** The first page where the editor runs alone: the tasks and what is to be done. */

import { Api } from "../core/api";
import type { TaskSummary } from "../core/protocol";
import { h } from "./dom";

/** As many as the server gives at once. */
const PAGE = 200;
const STATES = { waiting: "to do", draft: "begun", submitted: "done" } as const;

const ORDER = ["draft", "waiting", "submitted"] as const;

/** List the tasks, those to do first. */
export async function showTasks(root: HTMLElement): Promise<void> {
  const api = new Api();
  const list = h("div", { className: "tasks" });
  const more = h("button", { textContent: "More", hidden: true });
  root.className = "start";
  root.replaceChildren(h("h1", { textContent: "Tasks" }), list, more);
  let found: TaskSummary[] = [];
  const load = async () => {
    const tasks = await api.tasks(found.at(-1)?.task_id);
    found = [...found, ...tasks];
    list.replaceChildren(...inOrder(found).map(row));
    more.hidden = tasks.length < PAGE;
    if (found.length === 0) {
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

/** Return what was begun, then what nobody began, then what is done; each as it came. */
export function inOrder(tasks: readonly TaskSummary[]): TaskSummary[] {
  return ORDER.flatMap((state) => tasks.filter((task) => task.state === state));
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
