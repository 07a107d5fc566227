/** Which addresses a page may lead to: http, https and mailto, written out in full; everything else is just text. */

/** @param {string} address @returns {string|null} */
export function safeAddress(address) {
  if (!/^(?:https?:\/\/|mailto:)/i.test(address.trim())) return null;
  try {
    const { href, protocol } = new URL(address.trim());
    return ["http:", "https:", "mailto:"].includes(protocol) ? href : null;
  } catch {
    return null;
  }
}

/** Makes an element a link that tells the target nothing about us. @param {HTMLAnchorElement} link @param {string} address */
export function pointTo(link, address) {
  const href = safeAddress(address);
  if (href === null) return unlink(link);
  link.setAttribute("href", href);
  link.setAttribute("title", href);
  link.setAttribute("target", "_blank");
  link.setAttribute("rel", "noopener noreferrer");
}

function unlink(link) {
  for (const name of ["href", "target", "rel", "title"]) link.removeAttribute(name);
}
