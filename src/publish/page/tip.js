// One tooltip for the whole page: whatever carries data-tip says, on hover, on focus and on touch, where it comes
// from. Escape hides it.

let shown = null;

function place(tip, target) {
  const box = target.getBoundingClientRect();
  tip.style.maxWidth = `${Math.min(360, document.documentElement.clientWidth - 16)}px`;
  const own = tip.getBoundingClientRect();
  const below = box.bottom + 8 + own.height < window.innerHeight;
  const left = Math.max(8, Math.min(box.left + box.width / 2 - own.width / 2, document.documentElement.clientWidth - own.width - 8));
  const top = below ? box.bottom + 8 : Math.max(8, box.top - own.height - 8);
  tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
}

function show(tip, target) {
  const text = target.dataset.tip || columnTip(target);
  if (!text) return;
  if (shown && shown !== target) hide(tip);
  shown = target;
  tip.textContent = text;
  tip.hidden = false;
  target.setAttribute("aria-describedby", "tip");
  place(tip, target);
}

function hide(tip) {
  shown?.removeAttribute("aria-describedby");
  shown = null;
  tip.hidden = true;
}

/** A cell without a tip of its own has that of its column. */
function columnTip(target) {
  if (target.tagName !== "TD") return "";
  const head = target.closest("table")?.tHead?.rows[0]?.cells[target.cellIndex];
  return head?.querySelector("[data-tip]")?.dataset.tip || "";
}

const bearer = (node) => (node instanceof Element ? node.closest("[data-tip], td") : null);

export function tips() {
  const tip = document.getElementById("tip");
  document.addEventListener("pointerover", (event) => {
    const target = bearer(event.target);
    if (target) show(tip, target);
    else if (shown && !shown.matches(":focus")) hide(tip);
  });
  document.addEventListener("focusin", (event) => {
    const target = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
    if (target) show(tip, target);
    else if (shown) hide(tip);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && shown) hide(tip);
  });
  window.addEventListener("scroll", () => shown && hide(tip), {passive: true, capture: true});
}

/** Hides the tip of what is about to be replaced. */
export function forget() {
  const tip = document.getElementById("tip");
  if (shown && !shown.isConnected) hide(tip);
}
