// Elements from plain values. Text is always text: nothing here, and nothing that uses it, turns a string into
// markup, so a name cannot be more than a name.

const SVG = "http://www.w3.org/2000/svg";

function make(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [key, one] of Object.entries(value)) element.style.setProperty(key, one);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

/** An HTML element: h("p", {class: "x"}, "text", other). */
export const h = (tag, attributes, ...children) => make(document.createElement(tag), attributes, children);

/** An SVG element. */
export const s = (tag, attributes, ...children) => make(document.createElementNS(SVG, tag), attributes, children);

/** Replaces what is in an element. */
export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Fills an element only if what it shows has changed, so that focus and hover survive an update. */
export function fillIfNew(element, key, make) {
  const text = JSON.stringify(key);
  if (element.shownKey === text) return false;
  element.shownKey = text;
  const focused = element.contains(document.activeElement) ? document.activeElement.id : "";
  fill(element, make());
  if (focused) document.getElementById(focused)?.focus({preventScroll: true});
  return true;
}

/** Calls `draw(width)` now and whenever the width of `element` changes. */
export function onWidth(element, draw) {
  let last = 0;
  const watch = new ResizeObserver(() => {
    const width = Math.floor(element.clientWidth);
    if (width > 0 && width !== last) {
      last = width;
      draw(width);
    }
  });
  watch.observe(element);
  return () => watch.disconnect();
}

/** Says something to screen readers. */
export function announce(text) {
  const place = document.getElementById("announce");
  if (place.textContent !== text) place.textContent = text;
}
