// Undo and redo. A step is {undo(), redo(), forget()}; forget(), optional, frees what it made once it cannot be redone.

const MOST = 100;
const past = [];
const future = [];

/** Remember a step that was just taken; steps that were undone before it can no longer be redone. */
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
