/**
 * The page around the editor when it runs inside a task of Label Studio.
 *
 * All that the editor knows of Label Studio's internals is in this file, tested with 1.23.2:
 * the iframe in a task's `Markdown` tag has the origin of Label Studio, `parent.Htx` is its store,
 * `annotationStore.selected.names.get("cuboids")` a hidden text area whose text Label Studio's own
 * Submit stores with author and lead time. Where that is not found as expected the work is saved
 * through the HTTP APIs instead, and `status` says so for the labeller to see.
 *
 * Use:
 *
 *   const host = await LabelStudioHost.find(task.task_id);   // null: the editor runs alone
 *   host.read()                                              // work that Label Studio holds
 *   host.attach(() => request)                               // and `host.changed()` after each edit
 *   host.onStatus((status) => show(status))
 *   host.submit()                                            // presses its Submit
 */
import type { Annotation, SubmitRequest } from "../core/protocol";

const TAG = "cuboids";
const OBJECT = "clip";
const PRELABELS = "prelabels-";
const WAIT_MS = 10_000;
const LOOK_MS = 250;
const DEBOUNCE_MS = 300;

/**
 * `ready`: Label Studio's Submit stores the work. `readonly`: what is open there is a prediction or
 * cannot be changed. `fallback`: Label Studio is not as expected; press the editor's own Submit.
 */
export type HostStatus =
  | { readonly kind: "ready" }
  | { readonly kind: "readonly"; readonly why: string }
  | { readonly kind: "fallback"; readonly why: string };

/** What Label Studio holds of the task: own work, or the prelabels that it copied. */
export interface HostWork {
  readonly annotation: Annotation;
  readonly sequence: number;
  readonly version: string;
  readonly prelabels: boolean;
}

/** The few parts of Label Studio's store that are used. */
interface TextResult {
  setValue(value: string[]): void;
}
interface TextTag {
  readonly result?: TextResult;
  selectedValues(): unknown;
  addText(text: string): void;
}
interface SelectedAnnotation {
  readonly id: string;
  readonly pk: string | null;
  readonly type: string;
  readonly editable: boolean;
  readonly names: { get(name: string): unknown };
}
interface Store {
  submitAnnotation?: () => void;
  updateAnnotation?: () => void;
  readonly annotationStore: { readonly selected?: SelectedAnnotation };
  readonly task?: { readonly id?: number | string; readonly data?: unknown };
}

export class LabelStudioHost {
  private current: (() => SubmitRequest) | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private written = "";
  private shown: HostStatus = { kind: "ready" };
  private readonly listeners = new Set<(status: HostStatus) => void>();
  private readonly switches = new Set<() => void>();
  private selected = "";

  private constructor(
    private readonly page: Window,
    private readonly taskId: string,
  ) {}

  /** Return the page around, or null where the editor runs alone. Waits until the task is open. */
  static async find(taskId: string, page: Window = window.parent): Promise<LabelStudioHost | null> {
    if (page === window) return null;
    const host = new LabelStudioHost(page, taskId);
    const until = Date.now() + WAIT_MS;
    while (!host.tag() && Date.now() < until) await pause(LOOK_MS);
    host.selected = host.annotation()?.id ?? "";
    host.look();
    return host;
  }

  get status(): HostStatus {
    return this.shown;
  }

  /** Be told when the status changes. */
  onStatus(listener: (status: HostStatus) => void): void {
    this.listeners.add(listener);
    listener(this.shown);
  }

  /** Be told when another annotation of the task is opened around the editor: read again. */
  onSwitch(listener: () => void): void {
    this.switches.add(listener);
  }

  /** Return the work that Label Studio holds, or null where there is none that can be read. */
  read(): HostWork | null {
    try {
      const values = this.tag()?.selectedValues();
      const text: unknown = Array.isArray(values) ? values[values.length - 1] : values;
      if (typeof text !== "string" || !text) return null;
      const work = JSON.parse(text) as Partial<SubmitRequest>;
      if (!work.annotation || !Array.isArray(work.annotation.boxes)) return null;
      return {
        annotation: work.annotation,
        sequence: work.sequence ?? 0,
        version: work.version ?? "",
        prelabels: (work.submission_id ?? "").startsWith(PRELABELS),
      };
    } catch {
      return null;
    }
  }

  /**
   * Keep Label Studio's text the same as the work: after edits, and before it sees any press of a
   * button or key, so that its Submit never misses the last edit.
   */
  attach(current: () => SubmitRequest): void {
    this.current = current;
    window.focus(); // keys are for the editor until somebody clicks elsewhere
    const flush = () => this.flush();
    window.addEventListener("blur", flush);
    window.addEventListener("pagehide", flush);
    try {
      this.page.addEventListener("pointerdown", flush, true);
      this.page.addEventListener("keydown", flush, true);
      window.addEventListener("pagehide", () => {
        this.page.removeEventListener("pointerdown", flush, true);
        this.page.removeEventListener("keydown", flush, true);
      });
    } catch {
      // another origin: then the tag is not reachable either, and `look` says so
    }
    setInterval(() => this.look(), LOOK_MS);
    this.flush();
  }

  /** Tell that the work changed; it is written soon. */
  changed(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.flush(), DEBOUNCE_MS);
  }

  /** Write the work into Label Studio now; returns whether it holds it. */
  flush(): boolean {
    clearTimeout(this.timer);
    if (!this.current) return false;
    this.look();
    const tag = this.tag();
    if (!tag || this.shown.kind !== "ready") return false;
    const request = this.current();
    const work = JSON.stringify([request.sequence, request.annotation.boxes]);
    if (work === this.written) return true; // the clock alone is no change
    const text = JSON.stringify(request);
    try {
      if (tag.result) tag.result.setValue([text]);
      else tag.addText(text);
      const held: unknown = tag.selectedValues();
      if (!Array.isArray(held) || held[held.length - 1] !== text) {
        throw new Error("its text area did not take the text");
      }
    } catch (error) {
      this.tell({ kind: "fallback", why: `Label Studio did not take the work: ${String(error)}` });
      return false;
    }
    this.written = work;
    return true;
  }

  /**
   * Press Label Studio's own Submit (or Update, for an annotation that it has already); returns
   * whether that was possible. It then stores the work with author and lead time.
   */
  submit(): boolean {
    if (!this.flush()) return false;
    try {
      const store = this.store();
      const press = this.annotation()?.pk ? store?.updateAnnotation : store?.submitAnnotation;
      if (typeof press !== "function") throw new Error("its store has no submit");
      press.call(store);
      return true;
    } catch (error) {
      this.tell({ kind: "fallback", why: `Label Studio's Submit is not known: ${String(error)}` });
      return false;
    }
  }

  /**
   * Make an annotation of the task through Label Studio's own API, unless it is there: for work
   * that was submitted to our own server because `submit` was not possible. Both carry the same
   * submission id, so they are one answer. Returns whether Label Studio has it; our server has it
   * in any case.
   */
  async annotate(request: SubmitRequest): Promise<boolean> {
    const number = this.taskNumber();
    if (number === null) return false;
    const url = `/api/tasks/${number}/annotations/`;
    try {
      const there = await fetch(url);
      if (there.ok && (await there.text()).includes(request.submission_id)) return true;
      const result = {
        id: TAG,
        from_name: TAG,
        to_name: OBJECT,
        type: "textarea",
        value: { text: [JSON.stringify(request)] },
      };
      const made = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ result: [result], lead_time: request.lead_time_s }),
      });
      return made.ok;
    } catch {
      return false; // the next fetch of answers takes the copy on our own server
    }
  }

  /** The task's number, of the store or, where that is not as expected, of the page's address. */
  private taskNumber(): string | null {
    const number = this.store()?.task?.id;
    if (number !== undefined) return String(number);
    try {
      return new URL(this.page.location.href).searchParams.get("task");
    } catch {
      return null;
    }
  }

  /** Find out what is open around the editor, and tell those who want to know. */
  private look(): void {
    const annotation = this.annotation();
    if (!annotation || !this.tag()) {
      const why = "This version of Label Studio is not known to the editor.";
      this.tell({ kind: "fallback", why });
      return;
    }
    if (annotation.id !== this.selected) {
      this.selected = annotation.id;
      this.written = "";
      for (const listener of this.switches) listener();
    }
    if (annotation.type === "prediction") {
      const why = "These are the prelabels as they came; open your annotation to change them.";
      this.tell({ kind: "readonly", why });
    } else if (!annotation.editable) {
      this.tell({ kind: "readonly", why: "This annotation cannot be changed here." });
    } else this.tell({ kind: "ready" });
  }

  private tell(status: HostStatus): void {
    if (JSON.stringify(status) === JSON.stringify(this.shown)) return;
    this.shown = status;
    for (const listener of this.listeners) listener(status);
  }

  private store(): Store | undefined {
    try {
      return (this.page as Window & { Htx?: Store }).Htx;
    } catch {
      return undefined; // another origin
    }
  }

  /** Whether the page still shows our task: it goes on to the next one before it drops an iframe. */
  private shows(store: Store): boolean {
    const data = store.task?.data;
    const fields = (typeof data === "string" ? JSON.parse(data) : data) as { task_id?: unknown };
    return fields?.task_id === this.taskId;
  }

  private annotation(): SelectedAnnotation | undefined {
    try {
      const store = this.store();
      return store && this.shows(store) ? store.annotationStore.selected : undefined;
    } catch {
      return undefined;
    }
  }

  private tag(): TextTag | undefined {
    try {
      const tag = this.annotation()?.names.get(TAG) as TextTag | undefined;
      return typeof tag?.addText === "function" && typeof tag.selectedValues === "function"
        ? tag
        : undefined;
    } catch {
      return undefined;
    }
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
