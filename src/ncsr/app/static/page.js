// The page: its controls, what they ask the server for, and the pictures that come back.

import { address, ask, openVisit, run } from "/static/queue.js";
import { attach, fit, setBrush } from "/static/viewer.js";
import { copyMask, fillMask, fillShown, isPainted, maskText, resetMask, restoreMask, stroke } from "/static/mask.js";
import { clearHistory, record, redo, undo } from "/static/history.js";
import { canRecord, saveVideo } from "/static/video.js";

const opened = openVisit(); // who is quick has chosen a photograph before it is there
const settings = JSON.parse(document.body.dataset.settings);
const $ = (id) => document.getElementById(id);
const pictures = new Map(); // by name: what the server sent of each, with its URL and card; `hidden` after an undo
const overlays = new Map(); // promises of the URLs of overlays, by kind or by kind and picture
const chosen = { a: null, b: null }; // the names of the pictures shown as A and B
let picked = false; // whether the visitor chose A or B
let photograph = null; // {title, height, width, reference}
let running = null; // the AbortController of the running job
let remembered = false; // whether the server has a texture

const place = ({ name }) => Number(name.slice(1)); // order of the cards, not that of arrival: the first sample comes early
const visible = () => [...pictures.values()].filter((picture) => !picture.hidden).sort((one, other) => place(one) - place(other));

// -- messages

const say = (text) => ($("status-text").textContent = text);

function complain(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
  if (text) $("notice").scrollIntoView({ block: "nearest" });
}

const seconds = (left) => (left === null ? "" : left < 1.5 ? ", about a second left" : left < 90 ? `, about ${Math.round(left)} s left` : `, about ${Math.round(left / 60)} min left`);
const megapixels = (pixels) => `${+(pixels / 1e6).toFixed(2)} megapixels`;

$("limits").textContent = `PNG, JPEG, WebP, AVIF, JPEG XL, TIFF, GIF or BMP, up to ${megapixels(settings.maxPixels)} (${Math.floor(Math.sqrt(settings.maxPixels))} × ${Math.floor(Math.sqrt(settings.maxPixels))}) and ${settings.maxBytes / 1e6} MB. It is forgotten when you leave.`;

// -- jobs

/** Run a job, with a progress bar, a status line and a button that cancels it. Resolves to whether it ended well. */
async function work(name, values, onEvent = () => {}) {
  complain("");
  running = new AbortController();
  refresh();
  $("progress").hidden = false;
  $("progress").removeAttribute("value");
  say("Starting …");
  try {
    await run(name, values, (event) => {
      if (event.event === "waiting") say(`Waiting: ${event.ahead === 1 ? "one job is" : `${event.ahead} jobs are`} ahead of yours.`);
      else if (event.event === "progress") {
        $("progress").value = event.share;
        say("At work:");
        $("pace").textContent = `${event.what}${seconds(event.left)}`;
      } else if (event.event === "picture") queueShow(event.picture, name);
      else if (event.event === "started") say("Looking at the photograph …");
      else onEvent(event);
    }, running.signal);
    await shown;
    say(running.signal.aborted ? "Cancelled; what was made stays." : "Done.");
    return !running.signal.aborted;
  } catch (error) {
    await shown;
    say("It did not work.");
    complain(error.message);
    return false;
  } finally {
    running = null;
    $("progress").hidden = true;
    $("pace").textContent = "";
    refresh();
  }
}

let shown = Promise.resolve(); // pictures are shown one after the other, in the order in which they came
const queueShow = (told, job) => (shown = shown.then(() => add(told, job)).catch((error) => complain(error.message)));

/** A URL for the content that the server sends for a path of this visit; null if it sends none. */
async function load(path) {
  const answer = await ask(address(path));
  return answer.status === 204 ? null : URL.createObjectURL(await answer.blob());
}

// -- pictures

async function add(told, job) {
  const picture = { ...told, url: await load(`files/${told.name}.png`), hidden: false };
  const card = $("card").content.cloneNode(true).firstElementChild;
  card.querySelector("img").src = picture.url;
  card.querySelector("img").alt = `${told.label}: ${told.made}`;
  card.querySelector("b").textContent = told.label;
  card.querySelector("b").title = told.made;
  card.querySelector("small").textContent = `LR-PSNR ${told.lrPsnr === null ? "exact" : `${told.lrPsnr} dB`}`;
  card.querySelector("small").title = "How well its reduction agrees with the photograph";
  for (const button of card.querySelectorAll("button")) {
    button.onclick = () => acts[button.dataset.act](picture, button);
    const does = { a: "Show as A", b: "Show as B", keep: "Keep", save: "Download", remove: "Remove" }[button.dataset.act];
    button.setAttribute("aria-label", `${does}: ${told.label}`);
  }
  picture.card = card;
  $("cards").insertBefore(card, visible().find((other) => place(other) > place(picture))?.card ?? null);
  pictures.set(told.name, picture);
  attach(card.querySelector(".pane"));
  forgetOverlays();
  if (job !== "samples") {
    record({ undo: () => hide(picture, true), redo: () => hide(picture, false), forget: () => forget(picture) });
    choose("b", told.name);
  } else if (!picked) {
    const sample = visible().find(({ label }) => label === "Sample 1") ?? visible().find(({ label }) => label === "Temperature 0");
    choose("a", (sample ?? picture).name);
    choose("b", (visible().findLast((other) => other !== sample && /^(Temperature 0|Bicubic)$/.test(other.label)) ?? picture).name);
  }
  refresh();
}

const acts = {
  a: (picture) => pick("a", picture.name),
  b: (picture) => pick("b", picture.name),
  keep: (picture, button) => {
    picture.kept = !picture.kept;
    button.setAttribute("aria-pressed", picture.kept);
  },
  save: (picture) => save("picture", picture.name),
  remove: (picture) => {
    hide(picture, true);
    record({ undo: () => hide(picture, false), redo: () => hide(picture, true) });
  },
};

/** Hide a picture, or show it again; A and B change to other pictures if need be. */
function hide(picture, hidden) {
  picture.hidden = picture.card.hidden = hidden;
  for (const side of ["a", "b"]) {
    if (pictures.has(chosen[side]) && !pictures.get(chosen[side]).hidden) continue;
    const rest = visible().map(({ name }) => name);
    choose(side, rest.findLast((name) => name !== chosen[side === "a" ? "b" : "a"]) ?? rest.at(-1) ?? null);
  }
  refresh();
}

/** Drop a picture for good, here and on the server. */
function forget(picture) {
  if (!pictures.has(picture.name)) return;
  fetch(address(`remove/${picture.name}`), { method: "POST" }).catch(() => {});
  drop(picture);
}

function drop(picture) {
  pictures.delete(picture.name);
  picture.card.remove();
  URL.revokeObjectURL(picture.url);
}

function pick(side, name) {
  picked = true;
  choose(side, name);
  refresh();
}

function choose(side, name) {
  chosen[side] = name;
  const picture = pictures.get(name);
  if (!picture) return;
  const image = $(`layer-${side}`).querySelector("img");
  image.src = picture.url;
  image.alt = `${side.toUpperCase()}: ${picture.label}`;
  $(`tag-${side}`).textContent = `${side.toUpperCase()}  ${picture.label}`;
}

// -- overlays, which the server makes when they are asked for

function forgetOverlays() {
  for (const url of overlays.values()) url.then((made) => made && URL.revokeObjectURL(made), () => {});
  overlays.clear();
}

function overlayOf(kind, name) {
  const key = kind === "deviation" || kind === "disagreement" ? kind : `${kind} ${name}`;
  if (!overlays.has(key)) overlays.set(key, load(`overlays/${kind}?picture=${name}`));
  return overlays.get(key);
}

function showOverlays() {
  const kind = $("overlay").value;
  const put = async (image, name) => {
    const url = kind && name ? await overlayOf(kind, name).catch(() => null) : null;
    if (kind !== $("overlay").value) return;
    image.hidden = !url;
    if (url) image.src = url;
  };
  for (const side of ["a", "b"]) put($(`layer-${side}`).querySelector(".over"), chosen[side]);
  for (const { name, card } of visible()) put(card.querySelector(".over"), name);
  const told = {
    deviation: ["no difference", "32 grey levels or more: how far the samples lie apart"],
    disagreement: ["all agree", "none: share of samples more than 8 grey levels from the median"],
    invented: ["as at temperature 0", "32 grey levels or more away: what this sample adds to it"],
    likelihood: ["the likelier half", "the least probable places: only of an encoded reference"],
  }[kind];
  $("legend").hidden = $("strength").hidden = !told;
  if (told) $("legend").replaceChildren(told[0], document.createElement("i"), told[1]);
}

/** Make all controls fit the current state. */
function refresh() {
  const seen = visible();
  const any = seen.length > 0;
  document.body.classList.toggle("begun", photograph !== null);
  $("bar").hidden = $("stage").hidden = !any;
  $("empty").hidden = any;
  for (const side of ["a", "b"]) {
    if ([...$(side).options].map(({ value }) => value).join() !== seen.map(({ name }) => name).join()) {
      $(side).replaceChildren(...seen.map(({ name, label }) => new Option(label, name)));
    }
    $(side).value = chosen[side];
  }
  for (const { name, card } of seen) {
    for (const side of ["a", "b"]) card.querySelector(`[data-act=${side}]`).setAttribute("aria-pressed", chosen[side] === name);
  }
  const [a, b] = ["a", "b"].map((side) => pictures.get(chosen[side]));
  const painted = isPainted();
  const free = !running;
  const enable = (id, can) => ($(id).disabled = !can);
  enable("make", free && photograph);
  $("cancel").hidden = free;
  document.body.classList.toggle("working", !free);
  enable("redraw", free && a?.editable && painted);
  enable("temper", free && a?.editable && painted);
  enable("combine", free && a?.editable && b?.editable && a !== b && painted);
  enable("walk", free && a?.editable && b?.editable && a !== b);
  enable("encode", free && any && photograph?.reference);
  enable("remember", free && any && photograph?.reference);
  enable("texture", free && any && remembered);
  enable("undo", free && undo.possible());
  enable("redo", free && redo.possible());
  for (const id of ["file", "example", "reference"]) enable(id, free);
  for (const button of document.querySelectorAll("[data-download]")) {
    button.disabled = !any || (button.dataset.download === "latents" && !a?.editable);
  }
  showOverlays();
}

// -- photographs

async function take(file, scale = 0) {
  complain("");
  const refused = check(file);
  if (refused) return complain(refused);
  say(`Reading ${file.name} …`);
  const query = new URLSearchParams({ title: file.name, scale });
  try {
    await opened;
    const answer = await ask(address(`photograph?${query}`), { method: "POST", body: file });
    await begin(await answer.json());
  } catch (error) {
    say(photograph ? "" : "Choose a photograph, or take the example.");
    complain(error.message);
  }
}

function check(file) {
  if (!/\.(png|jpe?g|jpe|jfif|webp|avif|jxl|hei[cf]|jp2|j2k|tiff?|gif|bmp)$/i.test(file.name)) return `${file.name} is no photograph that is read here: choose PNG, JPEG, WebP, AVIF, JPEG XL, TIFF, GIF or BMP.`;
  if (file.size > settings.maxBytes) return `${file.name} has ${(file.size / 1e6).toFixed(1)} MB: up to ${settings.maxBytes / 1e6} MB are taken; reduce it or save it as JPEG.`;
  return "";
}

async function begin(told) {
  photograph = told;
  sessionStorage.setItem("begun", "yes");
  for (const picture of [...pictures.values()]) drop(picture);
  clearHistory();
  picked = false;
  $("walk-result").hidden = true;
  document.body.style.setProperty("--aspect", told.width / told.height);
  resetMask(told.width, told.height);
  $("brush-size").value = Math.round(Math.min(60, Math.max(2, Math.min(told.width, told.height) / 8)));
  $("brush-size").dispatchEvent(new Event("input"));
  fit();
  $("chosen").hidden = false;
  $("file").labels[0].textContent = "Choose another";
  $("chosen").textContent = `${told.title}, ${told.width} × ${told.height}${told.reference ? ", with its reference" : ""}`;
  refresh();
  await makeSamples();
}

async function makeSamples() {
  const kept = visible().filter((picture) => picture.kept).map(({ name }) => name);
  const seed = $("seed").value === "" ? null : $("seed").valueAsNumber;
  const values = { model: $("model").value, n: +$("count").value, temperature: +$("temperature").value, seed, kept };
  await work("samples", values, (event) => {
    if (event.event !== "began") return;
    $("seed-hint").textContent = `These are of seed ${event.seed}.`;
    for (const picture of [...pictures.values()]) if (!event.kept.includes(picture.name)) drop(picture);
    clearHistory();
    picked = false;
    refresh();
  });
}

// -- controls

for (const { name } of settings.models) $("model").append(new Option(name, name));
$("count").max = settings.mostSamples;
$("frames").max = settings.mostFrames;
const chosenModel = () => settings.models.find(({ name }) => name === $("model").value);
const modelTemperature = () => ($("temperature").value = chosenModel().temperature);
modelTemperature();
$("model-hint").hidden = !["x4", "x4-small"].every((name) => settings.models.some((model) => model.name === name));
for (const [id, unit] of [["count", ""], ["temperature", ""], ["brush-size", " px"], ["variants", ""], ["factor", ""], ["frames", ""]]) {
  const tell = () => ($(`${id}-value`).textContent = id === "factor" ? `× ${$(id).value}` : `${$(id).value}${unit}`);
  $(id).addEventListener("input", tell);
  $("model").addEventListener("change", () => setTimeout(tell));
  tell();
}
$("model").addEventListener("change", modelTemperature);
$("panel").addEventListener("submit", (event) => event.preventDefault());
$("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]).finally(() => ($("file").value = "")));
$("reference").addEventListener("change", () => {
  if ($("reference").files[0]) take($("reference").files[0], chosenModel().scale).finally(() => ($("reference").value = ""));
});
$("example").onclick = async () => {
  try {
    await opened;
    await begin(await (await ask(address("example"), { method: "POST" })).json());
  } catch (error) {
    complain(error.message);
  }
};
$("make").onclick = makeSamples;
$("cancel").onclick = () => running?.abort();
for (const side of ["a", "b"]) $(side).onchange = () => pick(side, $(side).value);
$("swap").onclick = () => {
  const { a, b } = chosen;
  pick("a", b);
  pick("b", a);
};
$("overlay").onchange = showOverlays;
$("opacity").oninput = () => document.body.style.setProperty("--opacity", $("opacity").value);

for (const kind of ["dragenter", "dragover"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
}
addEventListener("dragleave", (event) => event.relatedTarget || document.body.classList.remove("dragging"));
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (event.dataTransfer.files[0] && !running) take(event.dataTransfer.files[0]);
});

// -- region

/** Record the change of the mask since `before` as a step for undo and redo. */
const recordMask = (before) => {
  const after = copyMask();
  const restore = (mask) => () => {
    restoreMask(mask);
    refresh();
  };
  record({ undo: restore(before), redo: restore(after) });
  refresh();
};

for (const radio of document.querySelectorAll("[name=brush]")) {
  radio.onchange = () => {
    let before = null;
    fillShown(radio.value !== "");
    setBrush(radio.value === "" ? null : {
      stroke(x, y, begins) {
        before ??= copyMask();
        stroke(radio.value, +$("brush-size").value, x, y, begins);
      },
      done() {
        recordMask(before);
        before = null;
      },
    });
  };
}
const showBrushSize = () => photograph && document.body.style.setProperty("--brush", (100 * $("brush-size").value) / photograph.width);
$("brush-size").addEventListener("input", showBrushSize);

function fill(level) {
  const before = copyMask();
  fillMask(level);
  recordMask(before);
}

$("paint-all").onclick = () => fill(255);
$("paint-none").onclick = () => fill(0);
const step = (way) => {
  if (running) return;
  way();
  refresh();
};
$("undo").onclick = () => step(undo);
$("redo").onclick = () => step(redo);
addEventListener("keydown", (event) => {
  const key = event.key.toLowerCase();
  if (!(event.ctrlKey || event.metaKey) || !["z", "y"].includes(key) || event.target.matches("input[type=number]")) return;
  event.preventDefault();
  step(key === "y" || event.shiftKey ? redo : undo);
});

const edited = async (name, values) => {
  const wanted = await work(name, { base: chosen.a, mask: maskText(), ...values });
  if (wanted) $("brush-move").click(); // to see what became of it
};
$("redraw").onclick = () => edited("redraw", { n: +$("variants").value, temperature: +$("temperature").value, seed: null });
$("temper").onclick = () => edited("temper", { factor: +$("factor").value });
$("combine").onclick = () => edited("combine", { other: chosen.b });

// -- walk, reference, downloads

let walked = null; // {name, frames, milliseconds}
$("walk").onclick = () => work("walk", { base: chosen.a, other: chosen.b, frames: +$("frames").value }, async (event) => {
  if (event.event !== "walk") return;
  walked = event;
  $("walk-result").querySelector("img").src = $("walk-gif").href = await load(`files/${walked.name}.gif`);
  $("walk-result").hidden = false;
});
$("walk-video").hidden = !canRecord();
$("walk-video").onclick = async () => {
  $("walk-video").disabled = true;
  const frames = Array.from({ length: walked.frames }, (_, i) => address(`files/${walked.name}-${i}.webp`));
  await saveVideo(frames, walked.milliseconds).catch((error) => complain(error.message));
  $("walk-video").disabled = false;
};
$("encode").onclick = () => work("encode", { remember: false });
$("remember").onclick = () => work("encode", { remember: true }, (event) => (remembered ||= event.event === "texture"));
$("texture").onclick = () => work("texture", { temperature: +$("temperature").value });

function save(what, name = chosen.a) {
  const link = document.createElement("a");
  link.href = address(`download/${what}?picture=${name}`);
  link.download = "";
  link.click();
}
for (const button of document.querySelectorAll("[data-download]")) button.onclick = () => save(button.dataset.download);

if (sessionStorage.getItem("begun")) say("The last pictures were forgotten when the page was left. Choose a photograph, or take the example.");
sessionStorage.removeItem("begun");
await opened.catch((error) => complain(error.message));
refresh();
