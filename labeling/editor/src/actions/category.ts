/** What an object is. */

import { setCategory } from "../core/whole-tracks";
import type { Editor } from "../editor";
import { fitAgainAs } from "./fitting";

/** Give the selected track a category; with nothing selected, new boxes get it. */
export function categorise(editor: Editor, index: number): void {
  const name = editor.clip.categories[index]?.name;
  if (name === undefined) return;
  const { selected } = editor.model;
  if (selected === null) {
    editor.category = editor.category === name ? null : name;
    editor.say(`new boxes: ${editor.category ?? "category by size"}`);
  } else if (!fitAgainAs(editor, name)) {
    editor.edit("category", (document) => setCategory(document, selected, name));
  }
}
