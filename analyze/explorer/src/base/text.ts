// What containers are called and do is written by whoever runs in them. Characters that are invisible, or that turn text around, are shown as escapes.

const HIDDEN =
  /[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u115f\u1160\u1680\u2000-\u200a\u205f\u2800\u3000\u3164\uffa0]/gu;
const PLAIN = /^[\x20-\x7e]*$/;

/** Text in which every character is seen. */
export function visible(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(HIDDEN, (one) => `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`);
}

/** At most `most` characters of it: the beginning and the end, which tell more of a path than its middle. */
export function cutMiddle(text: string, most: number): string {
  if (text.length <= most) return text;
  const points = [...text];
  if (points.length <= most) return text;
  const kept = Math.max(2, most) - 1;
  const end = Math.ceil(kept * 0.6);
  return `${points.slice(0, kept - end).join("")}…${points.slice(points.length - end).join("")}`;
}

export function cutEnd(text: string, most: number): string {
  const points = [...text];
  return points.length <= most ? text : `${points.slice(0, Math.max(1, most - 1)).join("")}…`;
}

/** Long texts are searched in full and compared, but never laid out in full. */
export const ROW_TEXT = 220;
export const short = (text: string, most = ROW_TEXT): string => cutMiddle(visible(text), most);

/** Last part of a path, and what is before it. */
export function splitPath(path: string): { folder: string; base: string } {
  const at = path.lastIndexOf("/");
  return at < 0 || at === path.length - 1
    ? { folder: "", base: path }
    : { folder: path.slice(0, at + 1), base: path.slice(at + 1) };
}

/** A text as one word of a shell. */
export const shellWord = (text: string): string => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

/** A text as an SQL literal. */
export const quoted = (text: string): string => `'${text.replaceAll("'", "''")}'`;
