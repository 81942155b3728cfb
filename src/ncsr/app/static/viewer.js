// One view of all pictures: zoom and pan are linked by custom properties of the body, and a wipe lies between two of them.

const style = document.body.style;
const view = { x: 0, y: 0, zoom: 1, wipe: 0.5 };
const stage = document.getElementById("stage");
const wipe = document.getElementById("wipe");
const ring = document.getElementById("brush");
let brush = null; // {stroke(x, y, begins), done()}: what a drag on the stage does instead of moving
let tip = [0.5, 0.5]; // where the brush is, in parts of the pane

/** Let drags on the stage paint; null lets them move the picture. */
export function setBrush(chosen) {
  brush = chosen;
  stage.classList.toggle("painting", brush !== null);
  ring.hidden = true;
}

/** Show the brush, where it is now. */
function showTip([x, y]) {
  tip = [x, y].map((place) => Math.min(1, Math.max(0, place)));
  ring.hidden = !brush;
  style.setProperty("--brush-x", tip[0]);
  style.setProperty("--brush-y", tip[1]);
}

const paintAt = ([px, py], begins) => brush.stroke((px - view.x) / view.zoom, (py - view.y) / view.zoom, begins);

/** Zoom about a point of the pane, (0, 0) to (1, 1). */
export function zoomBy(factor, px = 0.5, py = 0.5) {
  const zoom = Math.min(32, Math.max(1, view.zoom * factor));
  const change = zoom / view.zoom;
  Object.assign(view, { x: px - (px - view.x) * change, y: py - (py - view.y) * change, zoom });
  show();
}

/** Show whole pictures. */
export function fit() {
  Object.assign(view, { x: 0, y: 0, zoom: 1 });
  show();
}

/** Move the pictures by parts of a pane. */
export function moveBy(dx, dy) {
  view.x += dx;
  view.y += dy;
  show();
}

/** Where the wipe stands, 0 (all B) to 1 (all A). */
export function setWipe(share) {
  view.wipe = Math.min(1, Math.max(0, share));
  show();
}

function show() {
  const least = 1 - view.zoom;
  view.x = Math.min(0, Math.max(least, view.x));
  view.y = Math.min(0, Math.max(least, view.y));
  for (const [name, value] of Object.entries(view)) style.setProperty(`--${name}`, value);
  document.body.classList.toggle("sharp", view.zoom >= 4);
  document.body.classList.toggle("zoomed", view.zoom > 1);
  document.getElementById("zoom-value").textContent = `${Math.round(view.zoom * 100)} %`;
  wipe.setAttribute("aria-valuenow", Math.round(view.wipe * 100));
}

/** Let a pane be dragged, pinched and wheeled. */
export function attach(pane) {
  const fingers = new Map();
  let painting = false;
  const at = (event) => {
    const box = pane.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  pane.addEventListener("wheel", (event) => {
    if (pane !== stage && view.zoom === 1 && !event.ctrlKey) return; // the page is scrolled over small pictures
    event.preventDefault();
    zoomBy(Math.exp(-event.deltaY * 0.002), ...at(event));
  }, { passive: false });
  pane.addEventListener("dblclick", (event) => brush || zoomBy(2, ...at(event)));
  pane.addEventListener("pointerdown", (event) => {
    if (event.button || event.target.closest(".wipe")) return;
    pane.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, at(event));
    painting = pane === stage && brush !== null && fingers.size === 1;
    if (painting) paintAt(at(event), true);
  });
  pane.addEventListener("pointerleave", () => pane === stage && (ring.hidden = true));
  pane.addEventListener("pointermove", (event) => {
    if (brush && pane === stage) showTip(at(event));
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const now = at(event);
    if (painting) {
      paintAt(now, false);
    } else if (fingers.size === 1) {
      moveBy(now[0] - before[0], now[1] - before[1]);
    } else {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const apart = (point) => Math.hypot(point[0] - other[0], point[1] - other[1]) || 1e-6;
      zoomBy(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
    }
    fingers.set(event.pointerId, now);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    pane.addEventListener(end, (event) => {
      if (painting) brush?.done();
      painting = false;
      fingers.delete(event.pointerId);
    });
  }
}

attach(stage);
wipe.addEventListener("pointerdown", (event) => {
  wipe.setPointerCapture(event.pointerId);
  event.preventDefault();
  wipe.focus();
});
wipe.addEventListener("pointermove", (event) => {
  if (!wipe.hasPointerCapture(event.pointerId)) return;
  const box = stage.getBoundingClientRect();
  setWipe((event.clientX - box.left) / box.width);
});
wipe.addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageUp: 0.1, PageDown: -0.1, Home: -1, End: 1 };
  if (!(event.key in steps)) return;
  event.preventDefault();
  event.stopPropagation();
  setWipe(view.wipe + steps[event.key]);
});
stage.addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
  if (brush && event.key in moves) showTip(tip.map((place, i) => place - moves[event.key][i] / 4));
  else if (brush && event.key === " ") {
    showTip(tip);
    paintAt(tip, true);
    brush.done();
  } else if (event.key in moves) moveBy(...moves[event.key]);
  else if (event.key === "+" || event.key === "=") zoomBy(1.5);
  else if (event.key === "-") zoomBy(1 / 1.5);
  else if (event.key === "0") fit();
  else return;
  event.preventDefault();
});
stage.addEventListener("blur", () => (ring.hidden = true));
document.getElementById("zoom-in").onclick = () => zoomBy(1.5);
document.getElementById("zoom-out").onclick = () => zoomBy(1 / 1.5);
document.getElementById("zoom-fit").onclick = fit;
