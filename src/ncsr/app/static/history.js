// Undo and redo: steps are {undo(), redo()}, and forget() for what a step made that can no longer be redone.

const MOST = 100;
const past = [];
const future = [];

/** Remember a step that was just taken; what was taken back before it cannot be redone. */
export function record(step) {
  for (const lost of future.splice(0)) lost.forget?.();
  past.push(step);
  if (past.length > MOST) past.shift();
}

/** Forget all steps. */
export function clearHistory() {
  past.length = future.length = 0;
}

/** Take the last step back. */
export function undo() {
  move(past, future, "undo");
}
undo.possible = () => past.length > 0;

/** Take a step again. */
export function redo() {
  move(future, past, "redo");
}
redo.possible = () => future.length > 0;

function move(from, to, way) {
  const step = from.pop();
  if (!step) return;
  step[way]();
  to.push(step);
}
