/** Making elements of the page in one line each. */

type Props<K extends keyof HTMLElementTagNameMap> = Partial<
  Omit<HTMLElementTagNameMap[K], "style" | "dataset">
> & { data?: Record<string, string>; aria?: Record<string, string> };

/** Make an element with properties, `data-` and `aria-` attributes and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props<K> = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  const { data, aria, ...rest } = props;
  Object.assign(element, rest);
  for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria ?? {})) {
    element.setAttribute(`aria-${name}`, value);
  }
  element.append(...children);
  return element;
}

/** Set the text of an element only if it differs, so that the page is not laid out for nothing. */
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}

/** Call `work` once in the next moment of quiet however often it was asked for. */
export function soon(work: () => void): () => void {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    queueMicrotask(() => {
      asked = false;
      work();
    });
  };
}

/** Return a track's id for the eye: of a UUID only its beginning. */
export function shortId(trackId: string): string {
  return trackId.length > 20 ? trackId.slice(0, 8) : trackId;
}
