/** Whether the work is safe, in words: "saved 2 s ago", "offline – kept here". */

import type { SaveStatus } from "../core/drafts";
import { h, setText } from "./dom";

export class Status {
  readonly element: HTMLElement;
  private readonly text = h("span");
  private status: SaveStatus = { state: "saved", problem: null };
  private savedAt: number | null = null;

  /** @param keepMine what a click does when another machine saved newer work. */
  constructor(keepMine: () => Promise<void>) {
    this.element = h(
      "div",
      { className: "status", role: "status" },
      h("i", { className: "dot" }),
      this.text,
    );
    this.element.addEventListener("click", () => {
      if (this.status.state === "conflict") void keepMine();
    });
    window.setInterval(() => this.update(), 1000);
    this.update();
  }

  show(status: SaveStatus): void {
    if (status.state === "saved" && this.status.state !== "saved") this.savedAt = Date.now();
    this.status = status;
    this.update();
  }

  private update(): void {
    const { state, problem } = this.status;
    this.element.dataset.state =
      state === "saving" || state === "saved" || state === "offline" ? state : "error";
    this.element.title = problem ?? "";
    setText(this.text, this.words());
  }

  private words(): string {
    switch (this.status.state) {
      case "saved":
        return this.savedAt === null
          ? "nothing to save"
          : `saved ${ago(Date.now() - this.savedAt)}`;
      case "saving":
        return "saving…";
      case "offline":
        return "offline – kept here";
      case "conflict":
        return "newer work elsewhere – click to keep this";
      case "superseded":
        return "submitted elsewhere";
      case "refused":
        return "refused – kept here";
    }
  }
}

/** Return a time span in the largest unit that fits. */
export function ago(ms: number): string {
  const seconds = Math.round(ms / 1000);
  if (seconds < 1) return "just now";
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  return `${Math.floor(seconds / 3600)} h ago`;
}
