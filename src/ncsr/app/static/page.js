// The page: its controls, what they ask the server for, and the pictures that come back.

import { address, ask, openVisit, run } from "/static/queue.js";
import { attach, fit, setBrush, setWipe } from "/static/viewer.js";
import { copyMask, fillMask, isPainted, maskText, resetMask, restoreMask, stroke } from "/static/mask.js";

const settings = JSON.parse(document.body.dataset.settings);
const $ = (id) => document.getElementById(id);
const pictures = new Map(); // by name: what the server told, its URL, its overlays' URLs and its card
const maps = {}; // URLs of overlays that all pictures share
const chosen = { a: null, b: null };
const undo = []; // functions that take the last steps back
let photograph = null; // {title, height, width, reference}
let running = null; // what aborts the job
let remembered = false; // a texture

// -- what is said

const say = (text) => ($("status-text").textContent = text);

function complain(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

const seconds = (left) => (left === null ? "" : left < 1.5 ? ", about a second left" : left < 90 ? `, about ${Math.round(left)} s left` : `, about ${Math.round(left / 60)} min left`);
const megapixels = (pixels) => `${+(pixels / 1e6).toFixed(2)} megapixels`;

$("limits").textContent = `PNG, JPEG, WebP, TIFF or BMP, up to ${megapixels(settings.maxPixels)} (${Math.floor(Math.sqrt(settings.maxPixels))} × ${Math.floor(Math.sqrt(settings.maxPixels))}) and ${settings.maxBytes / 1e6} MB. It is forgotten when you leave.`;

// -- jobs

/** Run a job with the state that every job has: a bar, a sentence, a button that cancels it. Resolves to whether it ended well. */
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
        say(`${event.what[0].toUpperCase()}${event.what.slice(1)}${seconds(event.left)}`);
      } else if (event.event === "picture") queueShow(event.picture, name);
      else if (event.event === "overlays") queueMaps(event.overlays);
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
    refresh();
  }
}

let shown = Promise.resolve(); // pictures are shown one after the other, in the order in which they came
const queueShow = (told, job) => (shown = shown.then(() => add(told, job)).catch((error) => complain(error.message)));
const queueMaps = (names) => (shown = shown.then(() => loadMaps(names)).catch(() => {}));

async function load(name) {
  return URL.createObjectURL(await (await ask(address(`files/${name}.png`))).blob());
}

async function loadMaps(names) {
  for (const name of names) {
    if (maps[name]) URL.revokeObjectURL(maps[name]);
    maps[name] = await load(name);
  }
  showOverlays();
}

// -- pictures

async function add(told, job) {
  const picture = { ...told, url: await load(told.name), overlays: {} };
  for (const kind of told.overlays) picture.overlays[kind] = await load(`${told.name}-${kind}`);
  const card = $("card").content.cloneNode(true).firstElementChild;
  card.querySelector("img").src = picture.url;
  card.querySelector("img").alt = `${told.label}: ${told.made}`;
  card.querySelector("b").textContent = told.label;
  card.querySelector("b").title = told.made;
  const psnr = told.lrPsnr === null ? "exact" : `${told.lrPsnr} dB`;
  card.querySelector("small").textContent = psnr;
  card.querySelector("small").title = "LR-PSNR: how well its reduction agrees with the photograph";
  card.querySelector("small").setAttribute("aria-label", `LR-PSNR ${psnr}`);
  for (const button of card.querySelectorAll("button")) {
    button.onclick = () => acts[button.dataset.act](picture, button);
    const does = { a: "Show as A", b: "Show as B", keep: "Keep", save: "Download", remove: "Remove" }[button.dataset.act];
    button.setAttribute("aria-label", `${does}: ${told.label}`);
  }
  picture.card = card;
  pictures.set(told.name, picture);
  $("cards").append(card);
  attach(card.querySelector(".pane"));
  if (!chosen.a) choose("a", told.name);
  else if (!chosen.b || (job === "samples" && told.label.startsWith("Temperature"))) choose("b", told.name);
  else if (job === "samples" && told.label === "Sample 1") {
    choose("a", chosen.b);
    choose("b", told.name);
  } else if (job !== "samples") {
    choose("b", told.name);
    undo.push(() => acts.remove(picture));
  }
  refresh();
}

const acts = {
  a: (picture) => choose("a", picture.name),
  b: (picture) => choose("b", picture.name),
  keep: (picture, button) => {
    picture.kept = !picture.kept;
    button.setAttribute("aria-pressed", picture.kept);
  },
  save: (picture) => save("picture", picture.name),
  remove: async (picture) => {
    await ask(address(`remove/${picture.name}`), { method: "POST" }).catch(() => {});
    drop(picture);
    refresh();
  },
};

function drop(picture) {
  pictures.delete(picture.name);
  picture.card.remove();
  for (const url of [picture.url, ...Object.values(picture.overlays)]) URL.revokeObjectURL(url);
  for (const side of ["a", "b"]) {
    if (chosen[side] !== picture.name) continue;
    const other = [...pictures.keys()].filter((name) => name !== chosen[side === "a" ? "b" : "a"]).pop();
    choose(side, other ?? [...pictures.keys()].pop() ?? null);
  }
}

function choose(side, name) {
  chosen[side] = name;
  const picture = pictures.get(name);
  if (picture) {
    const image = $(`layer-${side}`).querySelector("img");
    image.src = picture.url;
    image.alt = `${side.toUpperCase()}: ${picture.label}`;
    $(`tag-${side}`).textContent = `${side.toUpperCase()}  ${picture.label}`;
  }
  refresh();
}

function showOverlays() {
  const kind = $("overlay").value;
  const put = (image, picture) => {
    const url = picture && (maps[kind] ?? picture.overlays[kind]);
    image.hidden = !url;
    if (url) image.src = url;
  };
  for (const side of ["a", "b"]) put($(`layer-${side}`).querySelector(".over"), pictures.get(chosen[side]));
  for (const picture of pictures.values()) put(picture.card.querySelector(".over"), picture);
  const told = {
    deviation: ["no difference", "32 grey levels or more: how far the samples lie apart"],
    agreement: ["all agree", "none: share of samples more than 8 grey levels from the median"],
    invented: ["as at temperature 0", "32 grey levels or more away: what this sample adds to it"],
    likelihood: ["the likelier half", "the least probable places: only of an encoded reference"],
  }[kind];
  $("legend").hidden = !told;
  if (told) $("legend").replaceChildren(told[0], document.createElement("i"), told[1]);
}

/** Bring everything up to what there is. */
function refresh() {
  const any = pictures.size > 0;
  $("bar").hidden = $("stage").hidden = !any;
  $("empty").hidden = any;
  for (const side of ["a", "b"]) {
    const options = [...pictures.values()].map(({ name, label }) => new Option(label, name, false, name === chosen[side]));
    $(side).replaceChildren(...options);
  }
  for (const { name, card } of pictures.values()) {
    for (const side of ["a", "b"]) card.querySelector(`[data-act=${side}]`).setAttribute("aria-pressed", chosen[side] === name);
  }
  const [a, b] = ["a", "b"].map((side) => pictures.get(chosen[side]));
  const painted = isPainted();
  const free = !running;
  const enable = (id, can) => ($(id).disabled = !can);
  enable("make", free && photograph);
  enable("cancel", running);
  enable("redraw", free && a?.editable && painted);
  enable("temper", free && a?.editable && painted);
  enable("combine", free && a?.editable && b?.editable && a !== b && painted);
  enable("walk", free && a?.editable && b?.editable && a !== b);
  enable("encode", free && any && photograph?.reference);
  enable("remember", free && any && photograph?.reference);
  enable("texture", free && any && remembered);
  enable("undo", free && undo.length);
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
    const answer = await ask(address(`photograph?${query}`), { method: "POST", body: file });
    await begin(await answer.json());
  } catch (error) {
    say(photograph ? "" : "Choose a photograph, or take the example.");
    complain(error.message);
  }
}

function check(file) {
  if (!/\.(png|jpe?g|webp|tiff?|bmp)$/i.test(file.name)) return `${file.name} is no photograph that is read here: choose PNG, JPEG, WebP, TIFF or BMP.`;
  if (file.size > settings.maxBytes) return `${file.name} has ${(file.size / 1e6).toFixed(1)} MB: up to ${settings.maxBytes / 1e6} MB are taken; reduce it or save it as JPEG.`;
  return "";
}

async function begin(told) {
  photograph = told;
  for (const picture of [...pictures.values()]) drop(picture);
  undo.length = 0;
  $("walk-result").hidden = true;
  document.body.style.setProperty("--aspect", told.width / told.height);
  resetMask(told.width, told.height);
  fit();
  $("chosen").hidden = false;
  $("chosen").textContent = `${told.title}, ${told.width} × ${told.height}${told.reference ? ", with its reference" : ""}`;
  refresh();
  await makeSamples();
}

async function makeSamples() {
  const kept = [...pictures.values()].filter((picture) => picture.kept).map(({ name }) => name);
  const seed = $("seed").value === "" ? null : $("seed").valueAsNumber;
  const values = { model: $("model").value, n: +$("count").value, temperature: +$("temperature").value, seed, kept };
  await work("samples", values, (event) => {
    if (event.event !== "began") return;
    $("seed-hint").textContent = `These are of seed ${event.seed}.`;
    for (const picture of [...pictures.values()]) if (!event.kept.includes(picture.name)) drop(picture);
    for (const name of Object.keys(maps)) delete maps[name];
    undo.length = 0;
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
for (const [id, unit] of [["count", ""], ["temperature", ""], ["brush-size", " px"], ["variants", ""], ["factor", " ×"], ["frames", ""]]) {
  const tell = () => ($(`${id}-value`).textContent = (id === "factor" ? `× ${$(id).value}` : `${$(id).value}${unit}`));
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
    await begin(await (await ask(address("example"), { method: "POST" })).json());
  } catch (error) {
    complain(error.message);
  }
};
$("make").onclick = makeSamples;
$("cancel").onclick = () => running?.abort();
$("a").onchange = () => choose("a", $("a").value);
$("b").onchange = () => choose("b", $("b").value);
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

for (const radio of document.querySelectorAll("[name=brush]")) {
  radio.onchange = () => {
    let before = null;
    setBrush(radio.value === "" ? null : {
      stroke(x, y, begins) {
        before ??= copyMask();
        stroke(radio.value, +$("brush-size").value, x, y, begins);
      },
      done() {
        const past = before;
        before = null;
        undo.push(() => restoreMask(past));
        refresh();
      },
    });
    setWipe(radio.value === "" ? 0.5 : 1);
  };
}

function fill(level) {
  const past = copyMask();
  undo.push(() => restoreMask(past));
  fillMask(level);
  refresh();
}

$("paint-all").onclick = () => fill(255);
$("paint-none").onclick = () => fill(0);
async function takeBack() {
  if (running || !undo.length) return;
  await undo.pop()();
  refresh();
}
$("undo").onclick = takeBack;
addEventListener("keydown", (event) => {
  if (!(event.key === "z" && (event.ctrlKey || event.metaKey)) || event.target.matches("input[type=number]")) return;
  event.preventDefault();
  takeBack();
});

const edited = async (name, values) => {
  const wanted = await work(name, { base: chosen.a, mask: maskText(), ...values });
  if (wanted) {
    $("brush-move").click();
    setWipe(0.5);
  }
};
$("redraw").onclick = () => {
  const seed = $("seed").value === "" ? null : $("seed").valueAsNumber;
  return edited("redraw", { n: +$("variants").value, temperature: +$("temperature").value, seed });
};
$("temper").onclick = () => edited("temper", { factor: +$("factor").value });
$("combine").onclick = () => edited("combine", { other: chosen.b });

// -- walk, reference, downloads

$("walk").onclick = () => work("walk", { base: chosen.a, other: chosen.b, frames: +$("frames").value }, async (event) => {
  if (event.event !== "walk") return;
  const url = URL.createObjectURL(await (await ask(address(`files/${event.file}`))).blob());
  $("walk-result").querySelector("img").src = $("walk-result").querySelector("a").href = url;
  $("walk-result").hidden = false;
});
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

await openVisit().catch((error) => complain(error.message));
refresh();
