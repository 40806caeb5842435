/** The editor's server, called over HTTP: every call may be sent again, so every call is. */
import {
  API,
  type DraftReply,
  type DraftRequest,
  type ErrorJson,
  type SubmitReply,
  type SubmitRequest,
  type TaskJson,
  type TaskSummary,
} from "./protocol";
import { type OpenTask, readTask } from "./wire";

/** The server could not be reached or refused; `status` is 0 where there was no answer. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Whether the same call may succeed later: no answer, overload, a fault of the server. */
  get passing(): boolean {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

export interface ApiOptions {
  /** Before the path, for a server of another origin. */
  readonly base?: string;
  readonly fetch?: typeof fetch;
  /** How often a call is tried. */
  readonly attempts?: number;
  readonly timeoutMs?: number;
}

const FIRST_PAUSE_MS = 300;

export class Api {
  private readonly base: string;
  private readonly fetch: typeof fetch;
  private readonly attempts: number;
  private readonly timeoutMs: number;

  constructor(options: ApiOptions = {}) {
    this.base = options.base ?? "";
    this.fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.attempts = options.attempts ?? 4;
    this.timeoutMs = options.timeoutMs ?? 20_000;
  }

  /** Return the tasks after the one of id `after`, as many as the server gives at once. */
  async tasks(after = ""): Promise<readonly TaskSummary[]> {
    const query = after ? `?after=${encodeURIComponent(after)}` : "";
    return this.json("GET", `${API}/tasks${query}`);
  }

  /** @throws ApiError, or ProtocolError if the answer breaks the protocol. */
  async open(taskId: string): Promise<OpenTask> {
    return readTask(await this.json<TaskJson>("GET", path(taskId)));
  }

  /** Return the bytes of a sweep or an image. */
  async bytes(url: string): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(
      await this.call("GET", url, undefined, (response) => response.arrayBuffer()),
    );
  }

  /** Send a draft once: whoever calls keeps it and comes again. */
  async saveDraft(taskId: string, draft: DraftRequest): Promise<DraftReply> {
    return this.json("PUT", `${path(taskId)}/draft`, draft, 1);
  }

  /** Send an answer once. */
  async submit(taskId: string, submission: SubmitRequest): Promise<SubmitReply> {
    return this.json("POST", `${path(taskId)}/submit`, submission, 1);
  }

  private json<T>(method: string, url: string, body?: unknown, attempts?: number): Promise<T> {
    return this.call(method, url, body, (response) => response.json() as Promise<T>, attempts);
  }

  private async call<T>(
    method: string,
    url: string,
    body: unknown,
    read: (response: Response) => Promise<T>,
    attempts = this.attempts,
  ): Promise<T> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.once(method, url, body, read);
      } catch (error) {
        if (!(error instanceof ApiError && error.passing) || attempt >= attempts) throw error;
        await pause(FIRST_PAUSE_MS * 2 ** (attempt - 1));
      }
    }
  }

  private async once<T>(
    method: string,
    url: string,
    body: unknown,
    read: (response: Response) => Promise<T>,
  ): Promise<T> {
    const init: RequestInit = { method, signal: AbortSignal.timeout(this.timeoutMs) };
    if (body !== undefined) {
      init.headers = { "content-type": "application/json" };
      init.body = JSON.stringify(body);
    }
    const what = `${method} ${url.split("?")[0]}`;
    let response: Response;
    try {
      response = await this.fetch(url.startsWith("/") ? this.base + url : url, init);
      if (response.ok) return await read(response);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      throw new ApiError(0, `${what}: no answer from the server (${reason})`);
    }
    throw new ApiError(response.status, `${what}: ${await complaint(response)}`);
  }
}

/** Return what the server says, in words where it has any. */
async function complaint(response: Response): Promise<string> {
  const text = await response.text().catch(() => "");
  try {
    const { error } = JSON.parse(text) as ErrorJson;
    if (typeof error === "string") return error;
  } catch {
    // not ours: a proxy's page
  }
  return `status ${response.status} ${response.statusText}`.trim();
}

function path(taskId: string): string {
  return `${API}/tasks/${encodeURIComponent(taskId)}`;
}

/** Wait. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
