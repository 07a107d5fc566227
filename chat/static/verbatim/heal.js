/** Makes half-arrived markdown presentable: what is still open is closed, what is still ambiguous is held back; pure. */

const AMBIGUOUS_LINE = /(?:^|\n)[ \t]*(?:[-=*+#>|`~_]+|\d{1,9}[.)]?)[ \t]*$/;
const BLOCK_START = /\n(?=\n|[ \t]*(?:[-*+>|]|\d{1,9}[.)]|#{1,6})[ \t|])/g;
const FENCE = /^[ \t]*(?:```|~~~)/gm;
const OPEN_LINK = /!?\[([^\[\]\n]*)(?:\]\([^)\s]*)?$/;

/**
 * The part of `source` whose meaning is settled. A last line of only "-", "1." or "```" may become a list, a heading or
 * a fence; a first table row is text until the row of dashes has come.
 * @param {string} source
 */
export function settled(source) {
  const lines = source.slice(source.lastIndexOf("\n\n") + 1).trimStart().split("\n");
  if (lines[0].startsWith("|") && lines.length < 3) return source.slice(0, source.length - lines.join("\n").length);
  return source.replace(AMBIGUOUS_LINE, "");
}

/**
 * Closes emphasis, code and links that are still open at the end, so that they show as what they will be.
 * @param {string} source
 */
export function heal(source) {
  if ((source.match(FENCE)?.length ?? 0) % 2 === 1) return source;
  const start = [...source.matchAll(BLOCK_START)].at(-1)?.index ?? 0;
  const open = openMarks(source.slice(start));
  let text = open.at(-1)?.startsWith("`") ? source : source.replace(OPEN_LINK, "$1");
  if (open.length === 0) return text;
  while (open.length > 0 && text.endsWith(open.at(-1))) text = text.slice(0, -open.pop().length);
  return text.trimEnd() + open.reverse().join("");
}

/** The marks that are open at the end, outermost first. */
function openMarks(text) {
  const open = [];
  for (const { 0: mark, index } of text.matchAll(/\\.|`+|\*{1,3}|~~|__?/gs)) {
    if (mark.startsWith("\\")) continue;
    const inCode = open.at(-1)?.startsWith("`");
    if (inCode ? mark === open.at(-1) : open.includes(mark)) open.length = open.lastIndexOf(mark);
    else if (!inCode && opens(text, index, mark)) open.push(mark);
  }
  return open;
}

/** A mark opens where a word begins, never inside one or before a space. */
function opens(text, index, mark) {
  if (mark.startsWith("`")) return true;
  return !/\s/.test(text[index + mark.length] ?? "") && !/[\p{L}\p{N}]/u.test(text[index - 1] ?? " ");
}
