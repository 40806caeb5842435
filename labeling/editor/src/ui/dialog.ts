/** A question with a few answers. */

import { h } from "./dom";

/**
 * Return the answer that was pressed; null if the person left the question.
 *
 * @param answers the last one has the focus: the one that does no harm when it is pressed by mistake.
 */
export function ask(question: string, answers: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    const buttons = answers.map((answer, i) => {
      const button = h("button", { textContent: answer });
      if (i === answers.length - 1) button.classList.add("primary");
      button.addEventListener("click", () => dialog.close(answer));
      return button;
    });
    const dialog = h(
      "dialog",
      { className: "question" },
      h("p", { textContent: question }),
      h("div", { className: "answers" }, ...buttons),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "" ? null : dialog.returnValue);
    });
    document.body.append(dialog);
    dialog.showModal();
    buttons.at(-1)?.focus();
  });
}
