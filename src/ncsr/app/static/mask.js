// The mask: for each pixel of the photograph how much it is painted, and how much it is locked, from 0 to 255.

const canvas = document.getElementById("mask");
const pen = canvas.getContext("2d");
const PAINT = [230, 73, 128];
const LOCK = [24, 160, 88];
let painted = new Uint8ClampedArray(0);
let locked = new Uint8ClampedArray(0);
let last = null;
let filled = false; // whether areas are shown filled, or else outlined

/** Begin with an empty mask of a photograph's size. */
export function resetMask(width, height) {
  canvas.width = width;
  canvas.height = height;
  painted = new Uint8ClampedArray(width * height);
  locked = new Uint8ClampedArray(width * height);
  draw();
}

/** Show what is painted as areas, to paint on, or by its outline, to see what is under it. */
export function fillShown(areas) {
  filled = areas;
  draw();
}

/** What is painted and locked now, for `restoreMask`. */
export const copyMask = () => [painted.slice(), locked.slice()];

/** Go back to what `copyMask` gave. */
export function restoreMask([first, second]) {
  painted = first.slice();
  locked = second.slice();
  draw();
}

/** Paint everything, or with 0 nothing; locks stay, but go with 0. */
export function fillMask(level) {
  painted.fill(level);
  if (!level) locked.fill(0);
  draw();
}

/** Whether anything is painted that is not locked. */
export const isPainted = () => painted.some((level, i) => level > locked[i]);

/** What is to change, in base64: painted, and not locked. */
export function maskText() {
  const free = painted.map((level, i) => level * (1 - locked[i] / 255));
  let text = "";
  for (let i = 0; i < free.length; i += 8192) text += String.fromCharCode(...free.subarray(i, i + 8192));
  return btoa(text);
}

/** Move the brush to a point of the picture, (0, 0) to (1, 1), with a soft edge; a stroke joins its points. */
export function stroke(kind, size, x, y, begins) {
  const to = [x * canvas.width, y * canvas.height];
  const from = begins || !last ? to : last;
  const steps = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / Math.max(1, size / 4)));
  for (let i = 1; i <= steps; i++) {
    dab(kind, size / 2, from[0] + ((to[0] - from[0]) * i) / steps, from[1] + ((to[1] - from[1]) * i) / steps);
  }
  last = to;
  draw();
}

function dab(kind, radius, x, y) {
  const { width, height } = canvas;
  const soft = Math.max(1, radius * 0.35);
  for (let row = Math.max(0, Math.floor(y - radius)); row <= Math.min(height - 1, y + radius); row++) {
    for (let column = Math.max(0, Math.floor(x - radius)); column <= Math.min(width - 1, x + radius); column++) {
      const inside = radius - Math.hypot(column + 0.5 - x, row + 0.5 - y);
      const level = 255 * Math.min(1, Math.max(0, inside / soft));
      const i = row * width + column;
      if (kind === "erase") {
        painted[i] = Math.min(painted[i], 255 - level);
        locked[i] = Math.min(locked[i], 255 - level);
      } else {
        const plane = kind === "lock" ? locked : painted;
        plane[i] = Math.max(plane[i], level);
      }
    }
  }
}

function draw() {
  if (!canvas.width || !painted.length) return;
  const { width, height } = canvas;
  const image = pen.createImageData(width, height);
  const kind = (i) => (!(Math.max(painted[i], locked[i]) > 127) ? null : locked[i] >= painted[i] ? LOCK : PAINT);
  const differs = (i, column) => {
    const around = [column ? i - 1 : -1, column < width - 1 ? i + 1 : -1, i - width, i + width];
    return around.some((j) => kind(j) !== kind(i)); // outside of the picture is none
  };
  for (let i = 0; i < painted.length; i++) {
    const level = Math.max(painted[i], locked[i]);
    const alpha = filled ? level : kind(i) && differs(i, i % width) ? 255 : 0;
    if (alpha) image.data.set([...(locked[i] >= painted[i] ? LOCK : PAINT), alpha], 4 * i);
  }
  pen.putImageData(image, 0, 0);
}
