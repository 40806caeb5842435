import { expect, test } from "vitest";
import type { TaskState, TaskSummary } from "../src/core/protocol";
import { inOrder } from "../src/ui/tasks";

test("what is to do comes before what is done, each as it came", () => {
  const states: TaskState[] = ["submitted", "waiting", "draft", "waiting", "submitted"];
  const tasks = states.map(
    (state, i): TaskSummary => ({
      task_id: `${i}`,
      title: "",
      num_frames: 3,
      state,
      updated: null,
    }),
  );
  expect(inOrder(tasks).map((task) => task.task_id)).toEqual(["2", "1", "3", "0", "4"]);
  expect(inOrder([])).toEqual([]);
});
