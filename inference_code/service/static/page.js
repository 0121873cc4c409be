// The page: an image goes to /predict, what comes back is drawn.

import { colour, drawHeat, drawOverlay, readMap } from "./heat.js";

const find = (id) => document.getElementById(id);
const KEY = "api-key";

let models = [];
let file = null; // what was chosen
let shown = null; // what is drawn: answer, image, scores, top
let request = null; // that is under way
let later = null; // timer of the next one

class Refused extends Error {}

async function ask(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = key ? { "X-API-Key": key } : {};
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The service does not answer.");
  }
  if (response.status === 401) find("key-form").hidden = false;
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({ detail: `status ${response.status}` }));
    throw new Refused(`${detail[0].toUpperCase()}${detail.slice(1)}.`);
  }
  find("key-form").hidden = true;
  return response;
}

// Run something that may be refused, and say so if it is.
async function attempt(action) {
  find("message").textContent = "";
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!(error instanceof Refused)) throw error;
    find("message").textContent = error.message;
  }
}

const number = (value) => Number(value.toPrecision(4)).toString();

async function begin() {
  models = await (await ask("models")).json();
  find("model").replaceChildren(...models.map(({ model }) => new Option(model)));
  await chooseModel();
}

async function chooseModel() {
  const model = models[find("model").selectedIndex];
  const [height, width] = model.image_size;
  const auroc = "image_AUROC" in model.metrics ? `, image AUROC ${model.metrics.image_AUROC.toFixed(3)} there` : "";
  find("about").textContent = [model.detector, model.backbone && `on ${model.backbone}`, `trained on ${model.dataset}`]
    .filter(Boolean).join(" ") + `, ${width} × ${height} pixels${auroc}; runs on ${model.runtime}`;
  const path = `models/${encodeURIComponent(model.model)}/examples`;
  const examples = await (await ask(path)).json();
  find("examples").replaceChildren(...examples.map(({ number: index, defect_type: type }) => {
    const button = document.createElement("button"), picture = document.createElement("img"), name = document.createElement("span");
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    name.textContent = picture.alt = type;
    button.append(picture, name);
    button.onclick = () => attempt(async () => {
      const content = await (await ask(`${path}/${index}`)).blob();
      press(button);
      await predict(content);
    });
    ask(`${path}/${index}/thumbnail`).then((response) => response.blob()).then((content) => {
      picture.onload = () => URL.revokeObjectURL(picture.src);
      picture.src = URL.createObjectURL(content);
    }).catch(() => button.remove());
    return button;
  }));
  if (file) await predict(file);
}

function press(chosen) {
  for (const button of find("examples").children) button.setAttribute("aria-pressed", String(button === chosen));
}

// Predict an image; with a threshold the one that is drawn once more.
async function predict(content, threshold = null) {
  clearTimeout(later);
  request?.abort();
  request = new AbortController();
  file = content;
  const query = new URLSearchParams({ model: find("model").value });
  if (threshold === null) query.append("map", "true"), query.append("image", "true");
  else query.append("pixel_threshold", threshold);
  const form = new FormData();
  form.append("image", content);
  document.body.classList.add("busy");
  try {
    const answer = await (await ask(`predict?${query}`, { method: "POST", body: form, signal: request.signal })).json();
    if (threshold === null) await show(answer);
    list(answer);
  } catch (error) {
    if (threshold === null && error.name !== "AbortError") find("result").hidden = true, file = null;
    throw error;
  } finally {
    document.body.classList.remove("busy");
  }
}

async function show(answer) {
  const [image, map] = await Promise.all([answer.image, answer.map].map(decode));
  const { width, height } = image;
  const original = find("original"), context = original.getContext("2d");
  original.width = width;
  original.height = height;
  context.drawImage(image, 0, 0);
  const scores = readMap(map, answer.map_range, width, height);
  // Half of the colours stand below the threshold, so that they mean the same for all images of a model.
  const own = answer.pixel_threshold;
  const top = own > 0 ? 2 * own : answer.map_range[1] || 1;
  shown = { answer, image: context.getImageData(0, 0, width, height), scores, top };
  find("result").hidden = false;
  drawHeat(find("heat"), scores, width, height, top);
  find("scale-low").textContent = "0";
  find("scale-high").textContent = number(top);
  slide(own ?? answer.map_range[1]);
}

const decode = async (content) => createImageBitmap(
  new Blob([Uint8Array.from(atob(content), (character) => character.charCodeAt(0))], { type: "image/png" }),
);

// Draw with a threshold.
function slide(threshold) {
  const slider = find("threshold");
  shown.limit = Math.max(shown.top, shown.answer.map_range[1]) * 1.001; // at its end nothing is abnormal
  shown.threshold = threshold;
  slider.value = 1000 * threshold / shown.limit;
  slider.setAttribute("aria-valuetext", number(threshold));
  find("threshold-value").textContent = number(threshold);
  drawOverlay(find("overlay"), shown.image, shown.scores, threshold, shown.top);
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
  const { regions } = answer;
  find("regions-caption").textContent = regions.length === 1 ? "1 region" : `${regions.length} regions`;
  find("regions").replaceChildren(...regions.slice(0, 100).map(({ bbox, area, score }, index) => {
    const row = document.createElement("tr");
    row.append(...[index + 1, number(score), area, ...bbox].map((value) => {
      const cell = document.createElement("td");
      cell.textContent = value;
      return cell;
    }));
    row.onmouseenter = () => mark(bbox);
    row.onmouseleave = () => slide(shown.threshold);
    return row;
  }));
}

// Draw a box of the image as it was sent into the overlay.
function mark([x, y, width, height]) {
  const canvas = find("overlay"), context = canvas.getContext("2d");
  const scale = canvas.width / shown.answer.width;
  context.strokeStyle = "#ff3b30";
  context.lineWidth = Math.max(1, canvas.width / 200);
  context.strokeRect(x * scale, y * scale, width * scale, height * scale);
}

find("model").onchange = () => attempt(chooseModel);
find("file").onchange = ({ target }) => {
  const [chosen] = target.files;
  target.value = ""; // so that the same file can be chosen again
  if (chosen) press(null), attempt(() => predict(chosen));
};
find("threshold").oninput = ({ target }) => {
  slide(shown.limit * target.value / 1000);
  clearTimeout(later);
  later = setTimeout(() => attempt(() => predict(file, shown.threshold)), 250);
};
find("reset").onclick = () => attempt(() => predict(file));
find("key-form").onsubmit = (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, find("key").value.trim());
  attempt(begin);
};

const drop = find("drop");
for (const type of ["dragenter", "dragover"]) {
  drop.addEventListener(type, (event) => (event.preventDefault(), drop.classList.add("over")));
}
for (const type of ["dragleave", "drop"]) drop.addEventListener(type, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const [chosen] = event.dataTransfer.files;
  if (chosen) press(null), attempt(() => predict(chosen));
});
// Beside the field a browser would open the image in place of the page.
for (const type of ["dragover", "drop"]) document.addEventListener(type, (event) => event.preventDefault());

const scale = find("scale").getContext("2d");
for (let column = 0; column < 256; column++) {
  scale.fillStyle = `rgb(${colour(column / 255).map(Math.round).join(" ")})`;
  scale.fillRect(column, 0, 1, 1);
}
attempt(begin);
