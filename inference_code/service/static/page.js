// The page: an image goes to /predict, what comes back is drawn.

import { colour, drawHeat, drawOverlay, readMap } from "./heat.js";

const find = (id) => document.getElementById(id);
const KEY = "api-key";

let models = [];
let file = null; // that was chosen
let reference = null; // what it is compared with, where the model needs that
let borrowed = false; // whether that is the reference of an example, and no other image's
let shown = null; // that is drawn: file, answer, image, scores, top, limit, threshold
let action = new AbortController(); // the newest thing that was asked for; it ends all older ones
let refining = new AbortController(); // the newest answer for another threshold of what is drawn
let later = null; // timer of the next one

class Refused extends Error {}

async function ask(path, signal, options = {}) {
  const key = sessionStorage.getItem(KEY);
  let response;
  try {
    response = await fetch(path, { ...options, signal, headers: key ? { "X-API-Key": key } : {} });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service does not answer.");
  }
  if (response.status === 401) find("key-form").hidden = false;
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({ detail: `status ${response.status}` }));
    throw new Refused(sentence(detail));
  }
  find("key-form").hidden = true;
  return response;
}

// Do what was asked for, in place of whatever is under way; say so if it is refused.
async function begin(work) {
  action.abort();
  refining.abort();
  clearTimeout(later);
  const { signal } = action = new AbortController();
  find("message").textContent = "";
  document.body.classList.add("busy");
  find("threshold").disabled = true;
  try {
    await work(signal);
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    find("message").textContent = error.message;
  } finally {
    if (!signal.aborted) {
      document.body.classList.remove("busy");
      find("threshold").disabled = false;
    }
  }
}

const sentence = (words) => `${words[0].toUpperCase()}${words.slice(1)}.`;
const number = (value) => Number(value.toPrecision(4)).toString();

async function listModels(signal) {
  models = await (await ask("models", signal)).json();
  find("model").replaceChildren(...models.map(({ model }) => new Option(model)));
  await chooseModel(signal);
}

const chosenModel = () => models[find("model").selectedIndex];

async function chooseModel(signal) {
  const model = chosenModel();
  find("drop-reference").hidden = !model.needs_reference;
  const [height, width] = model.image_size;
  const auroc = "image_AUROC" in model.metrics ? `, image AUROC ${model.metrics.image_AUROC.toFixed(3)} there` : "";
  find("about").textContent = [model.detector, model.backbone && `on ${model.backbone}`, `trained on ${model.dataset}`]
    .filter(Boolean).join(" ") + `, ${width} × ${height} pixels${auroc}; runs on ${model.runtime}`;
  find("promise").textContent = sentence(model.promise);
  find("examples").replaceChildren();
  const path = `models/${encodeURIComponent(model.model)}/examples`;
  const examples = await (await ask(path, signal)).json();
  find("examples").replaceChildren(...examples.map((example) => makeExample(path, example)));
  if (file) await predict(file, signal);
}

function makeExample(path, { number: index, defect_type: type }) {
  const button = document.createElement("button"), picture = document.createElement("img");
  const name = document.createElement("span");
  button.type = "button";
  button.setAttribute("aria-pressed", "false");
  name.textContent = type;
  picture.alt = "";
  button.append(picture, name);
  button.onclick = () => begin(async (signal) => {
    press(button);
    const image = await (await ask(`${path}/${index}`, signal)).blob();
    if (chosenModel().needs_reference) {
      setReference(await (await ask(`${path}/${index}/reference`, signal)).blob(), "that of the example");
      borrowed = true;
    }
    await predict(image, signal);
  });
  ask(`${path}/${index}/thumbnail`).then((response) => response.blob()).then((content) => {
    picture.onload = () => URL.revokeObjectURL(picture.src);
    picture.src = URL.createObjectURL(content);
  }).catch(() => button.remove());
  return button;
}

function press(chosen) {
  for (const button of find("examples").children) button.setAttribute("aria-pressed", String(button === chosen));
}

async function send(content, parameters, signal) {
  const query = new URLSearchParams({ model: find("model").value, ...parameters });
  const body = new FormData();
  body.append("image", content);
  if (chosenModel().needs_reference) body.append("reference", reference);
  const answer = await (await ask(`predict?${query}`, signal, { method: "POST", body })).json();
  signal.throwIfAborted();
  return answer;
}

function setReference(content, name) {
  [reference, borrowed] = [content, false];
  find("reference-name").textContent = name;
}

async function predict(content, signal) {
  file = content;
  if (chosenModel().needs_reference && !reference) {
    find("result").hidden = true;
    find("message").textContent = "This model compares an image with its reference: choose that, too.";
    return;
  }
  try {
    const answer = await send(content, { map: true, image: true }, signal);
    const [image, map] = await Promise.all([answer.image, answer.map].map(decode));
    signal.throwIfAborted();
    show(answer, image, map);
  } catch (error) {
    if (error instanceof Refused) {
      find("result").hidden = true;
      file = shown = null;
    }
    throw error;
  }
}

const decode = async (content) => createImageBitmap(
  new Blob([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], { type: "image/png" }),
);

function show(answer, image, map) {
  const { width, height } = image;
  const original = find("original"), context = original.getContext("2d");
  original.width = width;
  original.height = height;
  context.drawImage(image, 0, 0);
  const scores = readMap(map, answer.map_range, width, height);
  // Half of the colours stand below the threshold, so that they mean the same for all images of a model.
  const own = answer.pixel_threshold;
  const top = own > 0 ? 2 * own : answer.map_range[1] || 1;
  const limit = Math.max(top, answer.map_range[1]) * 1.001; // from there on nothing is abnormal
  shown = { answer, image: context.getImageData(0, 0, width, height), scores, top, limit };
  find("result").hidden = false;
  drawHeat(find("heat"), scores, width, height, top);
  find("scale-low").textContent = "0";
  find("scale-high").textContent = number(top);
  slide(own ?? limit);
  list(answer);
}

// Draw with a threshold.
function slide(threshold) {
  const slider = find("threshold");
  shown.threshold = threshold;
  slider.value = 1000 * threshold / shown.limit;
  slider.setAttribute("aria-valuetext", number(threshold));
  find("threshold-value").textContent = number(threshold);
  drawOverlay(find("overlay"), shown.image, shown.scores, threshold, shown.top);
}

// Ask for label and regions with the threshold that is drawn.
async function refine() {
  const { signal } = refining = new AbortController();
  try {
    list(await send(file, { pixel_threshold: shown.threshold }, signal));
  } catch (error) {
    if (error instanceof Refused) find("message").textContent = error.message;
    else if (error.name !== "AbortError") throw error;
  }
}

// Say what the service answered.
function list(answer) {
  const verdict = find("verdict"), strong = document.createElement("strong");
  const known = answer.abnormal !== null;
  strong.textContent = known ? (answer.abnormal ? "Abnormal" : "Normal") : "No threshold";
  verdict.className = known ? (answer.abnormal ? "abnormal" : "normal") : "";
  const limit = known ? `; abnormal from ${number(answer.threshold)}` : ": the run found none";
  verdict.replaceChildren(strong, `: score ${number(answer.score)}${limit}. ${answer.width} × ${answer.height} pixels, `
    + `${(1000 * answer.seconds).toFixed(0)} ms.`);
  // What the thresholds of the run promise stands above; here is what is lost by another one.
  const own = models[find("model").selectedIndex];
  find("lost").textContent = answer.promise === own.promise ? "" : sentence(answer.promise);
  const { regions } = answer;
  find("regions-caption").textContent = regions.length === 1 ? "1 region" : `${regions.length} regions`;
  find("regions").replaceChildren(...regions.slice(0, 100).map(({ bbox, area, score }, index) => {
    const row = document.createElement("tr");
    row.tabIndex = 0;
    row.append(...[index + 1, number(score), area, ...bbox].map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }));
    row.onmouseenter = row.onfocus = () => mark(bbox);
    row.onmouseleave = row.onblur = () => slide(shown.threshold);
    return row;
  }));
}

// Draw a box of the image as it was sent into the overlay.
function mark([x, y, width, height]) {
  slide(shown.threshold); // without the box of another one
  const canvas = find("overlay"), context = canvas.getContext("2d");
  const scale = canvas.width / shown.answer.width;
  context.strokeStyle = "#ff3b30";
  context.lineWidth = Math.max(1, canvas.width / 200);
  context.strokeRect(x * scale, y * scale, width * scale, height * scale);
}

function choose(chosen) {
  if (!chosen || !models.length) return;
  press(null);
  if (borrowed) setReference(null, "the golden sample to compare with");
  begin((signal) => predict(chosen, signal));
}

find("model").onchange = () => begin(chooseModel);
find("file").onchange = ({ target }) => {
  choose(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
};
function chooseReference(chosen) {
  if (!chosen || !models.length) return;
  press(null);
  setReference(chosen, chosen.name);
  if (file) begin((signal) => predict(file, signal));
}

find("reference").onchange = ({ target }) => {
  chooseReference(target.files[0]);
  target.value = "";
};
find("threshold").oninput = ({ target }) => {
  slide(shown.limit * target.value / 1000);
  refining.abort();
  clearTimeout(later);
  later = setTimeout(refine, 250);
};
find("reset").onclick = () => begin((signal) => predict(file, signal));
find("key-form").onsubmit = (event) => {
  event.preventDefault();
  const key = find("key").value.trim();
  if (/^[!-~]+$/.test(key)) sessionStorage.setItem(KEY, key), begin(listModels);
  else find("message").textContent = "A key has letters, digits and signs only.";
};

for (const [name, take] of [["drop", choose], ["drop-reference", chooseReference]]) {
  const drop = find(name);
  for (const type of ["dragenter", "dragover"]) drop.addEventListener(type, () => drop.classList.add("over"));
  for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => take(event.dataTransfer.files[0]));
}
// Also beside the field, where a browser would open the image in place of the page.
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());

const scale = find("scale").getContext("2d");
for (let column = 0; column < 256; column++) {
  scale.fillStyle = `rgb(${colour(column / 255).map(Math.round).join(" ")})`;
  scale.fillRect(column, 0, 1, 1);
}
begin(listModels);
