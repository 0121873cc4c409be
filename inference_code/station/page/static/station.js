// The page of a station: what the service says is shown, and what the person at the line says is sent.

import { ask, load, Refused, setKey } from "./asking.js";
import { allowed, mute, muted, play, prepare } from "./sound.js";
import { Stream } from "./stream.js";
import { count, LANGUAGES, preferred, say, speak } from "./words.js";

const find = (id) => document.getElementById(id);
const PERSON = "station-person";
// Milliseconds: a part stays this long at least, and where something was found so that it can be looked at; after
// which the page goes back to the line by itself; and in which nobody can have seen the part that is shown.
const LEAST = 1000, HOLD = 6000, LOOKING = 60000, REACTION = 400;
const SIGNS = {
  good: "M14 54 L40 80 L88 22", bad: "M20 20 L80 80 M80 20 L20 80",
  doubt: "M30 34 C30 8 72 8 72 36 C72 56 50 52 50 68 M50 84 L50 86", none: "M20 50 L80 50",
};

let told = null; // the last event
let state = null; // what the service said last of its ledger
let skew = 0; // milliseconds by which the clock of the service is ahead
let handled = null; // number of the last verdict that was told
let shown = null; // the part that is shown
let before = null; // the one that was shown until `changed`
let changed = 0;
let pinned = false; // whether the person chose what is shown
let hold = 0, later = null; // until when it stays, and the timer for that
let leaving = null; // timer of the way back to the line
let pressed = null; // the part that a button was pressed for
let asked = null; // a correction that waits for a name
let loading = new AbortController();
let touched = null; // when the service was in touch last; null while it is

const kind = (verdict) => (verdict === "good" || verdict === "bad" ? verdict : "doubt");
const found = (part) => part.views.filter((view) => view.abnormal).sort((one, other) => other.score - one.score);
const make = (tag, text = "", className = "") => Object.assign(document.createElement(tag), { textContent: text, className });

// What the service says

function take(event) {
  const { now, state: given } = told = event;
  skew = 1000 * now - Date.now();
  find("station").textContent = given.station;
  find("trouble").hidden = !given.trouble;
  if (given.trouble) {
    find("trouble").textContent = given.trouble === "missing" ? say("missing") : say("unreadable_ledger", given);
    return;
  }
  state = given;
  const last = state.last?.number ?? 0, first = handled === null || last < handled;
  if (first) begin();
  const news = first ? [] : state.bad.filter((part) => part.number > handled);
  const doubt = !first && !news.length && last > handled && kind(state.last.verdict) === "doubt";
  handled = last;
  if (news.length || doubt) {
    play(news.length ? "bad" : "doubt");
    flash();
  }
  showDay();
  if (!pinned && news.length) show(news[0], HOLD);
  else follow(doubt ? HOLD : LEAST);
}

// A ledger that was not seen before: nothing of another one is shown any more.
function begin() {
  [shown, before] = [null, null];
  loading.abort();
  find("part").dataset.verdict = "none";
  find("sign").firstElementChild.setAttribute("d", SIGNS.none);
  find("word").textContent = say("none_yet");
  for (const id of ["name", "why", "when"]) find(id).textContent = "";
  find("pictures").replaceChildren();
  showSaid();
  live();
}

// Show the last part, as soon as the one that is shown may go.
function follow(stay = LEAST) {
  clearTimeout(later);
  const again = [state.last, ...state.bad].find((part) => part?.number === shown?.number);
  if (again) refresh(again);
  if (pinned || !state.last) return;
  if (state.last.number === shown?.number) return;
  const wait = hold - Date.now();
  if (wait > 0 && shown) later = setTimeout(follow, wait);
  else show(state.last, stay === LEAST && kind(state.last.verdict) !== "good" ? HOLD : stay);
}

function show(part, stay) {
  [before, changed] = [shown, Date.now()];
  hold = changed + stay;
  shown = part;
  showPart();
  showPictures();
  clearTimeout(later);
  if (!pinned) later = setTimeout(follow, stay);
}

// The same part, of which a person may have said something since.
function refresh(part) {
  shown = part;
  showSaid();
}

function pin(part) {
  pinned = true;
  if (part.number !== shown?.number) show(part, 0);
  find("back").hidden = false;
  clearTimeout(leaving);
  leaving = setTimeout(live, LOOKING);
}

function live() {
  pinned = false;
  hold = 0;
  clearTimeout(leaving);
  find("back").hidden = true;
  if (state?.last) follow();
}

function flash() {
  document.body.classList.remove("alarm");
  document.body.getBoundingClientRect(); // so that the animation begins anew
  document.body.classList.add("alarm");
}

// The part

function showPart() {
  const { verdict, name, views } = shown, sort = kind(verdict);
  find("part").dataset.verdict = sort;
  find("sign").firstElementChild.setAttribute("d", SIGNS[sort]);
  const word = say(verdict);
  find("word").textContent = word;
  find("verdict").style.setProperty("--letters", Math.max(4, word.length));
  find("name").textContent = name;
  find("why").textContent = reason(shown);
  document.title = `${word} · ${name} · ${state.station}`;
  showSaid();
  showAge();
}

function reason({ verdict, views, p_value: p }) {
  const names = (some) => some.map(({ view }) => view).join(", ");
  const bad = views.filter((view) => view.abnormal);
  if (verdict === "bad") {
    return (bad.length ? say("found_in", { views: names(bad) }) : say("found_together")) +
      (p === null ? "" : ` (p = ${p.toPrecision(2)})`);
  }
  if (verdict === "unreadable") return say("not_read", { views: names(views.filter((view) => view.state === "unreadable")) });
  return verdict === "incomplete" ? say("came", { views: names(views) }) : say("nothing_found");
}

function showSaid() {
  const said = shown?.correction;
  find("said").hidden = !said;
  find("part").dataset.said = said?.verdict ?? "";
  if (said) find("said-text").textContent = say(`said_${said.verdict}`, said);
}

function showAge() {
  if (!shown) return;
  const seconds = Math.max(0, Math.round((Date.now() + skew) / 1000 - shown.judged));
  const [key, value] = seconds < 90 ? ["ago_seconds", seconds] :
    seconds < 5400 ? ["ago_minutes", Math.round(seconds / 60)] : ["ago_hours", Math.round(seconds / 3600)];
  const day = shown.day === state.day ? "" : `${shown.day} `;
  find("when").textContent = `${day}${shown.time} · ${say(key, { count: value })}`;
}

const address = (number, view, what, size) =>
  `station/parts/${number}/picture?${new URLSearchParams({ view, kind: what, size })}`;

function showPictures() {
  loading.abort();
  const { signal } = loading = new AbortController(), { number, views } = shown, bad = found(shown);
  const pairs = [
    ...bad.flatMap((view) => [[view, "overlay"], [view, "photograph"]]),
    ...views.filter((view) => !view.abnormal).map((view) => [view, "photograph"]),
  ];
  const figures = pairs.map(([view, what]) => figure(number, view, what, signal));
  find("pictures").replaceChildren(...figures);
  find("pictures").dataset.layout = bad.length && pairs.length > 1 ? "hero" : "even";
  arrange();
}

function figure(number, { view, state: how, abnormal }, what, signal) {
  const element = make("figure"), image = make("img"), caption = make("figcaption");
  const sign = how === "unreadable" ? "?" : abnormal ? "✕" : "✓";
  element.className = how === "unreadable" ? "doubt" : abnormal ? "bad" : "good";
  image.alt = `${view}: ${say(what)}`;
  caption.append(make("b", `${sign} ${view}`), make("span", abnormal ? say(what) : ""));
  element.append(image, caption);
  element.onclick = () => lead(element);
  load(image, address(number, view, what, "large"), signal, what === "photograph").then((there) => {
    if (there || signal.aborted) return;
    if (what === "overlay") element.remove();
    element.classList.add("empty");
    arrange();
  });
  return element;
}

// Make a picture the large one.
function lead(element) {
  find("pictures").prepend(element);
  arrange();
}

function arrange() {
  const { children } = find("pictures");
  const small = Math.max(1, children.length - 1), columns = small > 3 ? 2 : 1; // beside the large one
  find("pictures").style.setProperty("--columns", columns);
  find("pictures").style.setProperty("--rows", Math.ceil(small / columns));
  find("pictures").dataset.count = children.length;
}

// The day

function showDay() {
  const { totals, hours, views, corrected, drift } = state;
  const doubt = totals.incomplete + totals.unreadable, all = totals.good + totals.bad + doubt;
  find("day").textContent = new Date(`${state.day}T12:00`).toLocaleDateString(
    document.documentElement.lang, { weekday: "long", day: "numeric", month: "long" });
  find("good-count").textContent = count(totals.good);
  find("bad-count").textContent = count(totals.bad);
  find("bad-share").textContent = all ? `${(100 * totals.bad / all).toLocaleString(
    document.documentElement.lang, { maximumFractionDigits: 1 })} %` : "";
  find("doubt-count").textContent = count(doubt);
  find("doubt").hidden = !doubt;
  find("corrected").hidden = !(corrected.good || corrected.bad);
  find("corrected").textContent = say("corrected", corrected);
  showHours(hours);
  const most = Math.max(...views.map(share)) || 1;
  find("views").replaceChildren(...views.map((view) => viewRow(view, most)));
  showBad();
  showDrift(drift);
}

const seen = ({ good = 0, bad = 0, unreadable = 0 }) => good + bad + unreadable;
const share = (view) => (view.bad ?? 0) / Math.max(1, seen(view));

function viewRow(view, most) {
  const row = make("li"), bar = make("span", "", "bar");
  bar.style.setProperty("--share", share(view) / most);
  row.append(make("b", view.view), bar,
    make("span", say("of_seen", { bad: count(view.bad ?? 0), seen: count(seen(view)) })));
  return row;
}

// From the first hour of the day to the last: bad parts above the line, good ones below, each on a scale of its own.
function showHours(hours) {
  const by = Object.fromEntries(hours.map((hour) => [hour.hour, hour]));
  const numbers = hours.map(({ hour }) => hour);
  const most = (name) => Math.max(1, ...hours.map((hour) => hour[name] ?? 0));
  const columns = [];
  for (let hour = Math.min(...numbers); hour <= Math.max(...numbers); hour += 1) {
    const { good = 0, bad = 0 } = by[hour] ?? {}, column = make("li");
    column.style.setProperty("--up", bad / most("bad"));
    column.style.setProperty("--down", good / most("good"));
    column.append(make("b", bad || ""), make("i", "", "bad"), make("i", "", "good"), make("span", hour));
    column.title = say("hour_label", { hour, bad: count(bad), good: count(good) });
    column.setAttribute("aria-label", column.title);
    columns.push(column);
  }
  find("hours").replaceChildren(...columns);
}

function showBad() {
  const list = find("bad"), there = new Map([...list.children].map((item) => [Number(item.dataset.number), item]));
  list.replaceChildren(...state.bad.map((part) => {
    const item = there.get(part.number) ?? thumbnail(part);
    item.classList.toggle("corrected", part.correction?.verdict === "good");
    item.firstElementChild.onclick = () => pin(part);
    return item;
  }));
  find("no-bad").hidden = state.bad.length > 0;
}

function thumbnail(part) {
  const item = make("li"), button = make("button"), image = make("img"), [view] = found(part).concat(part.views);
  item.dataset.number = part.number;
  button.type = "button";
  image.alt = "";
  button.append(image, make("b", part.name), make("time", part.time.slice(0, 5)));
  item.append(button);
  load(image, address(part.number, view.view, "overlay", "small")).then((there) =>
    there || load(image, address(part.number, view.view, "photograph", "small"), undefined, true));
  return item;
}

function showDrift(alarms) {
  const list = find("drift"), there = new Map([...list.children].map((item) => [item.dataset.picture, item]));
  list.hidden = !alarms.length;
  list.replaceChildren(...alarms.map(({ text, since, picture }) => {
    const item = there.get(picture) ?? drawing(picture);
    const time = new Date(1000 * since).toLocaleString(document.documentElement.lang, { dateStyle: "short", timeStyle: "short", hourCycle: "h23" });
    item.querySelector("strong").textContent = `⚠ ${text}`;
    item.querySelector("span").textContent = say("since", { time });
    return item;
  }));
}

// An alarm with its picture; without the name of one that is not there yet, it is made anew with the next event.
function drawing(picture) {
  const item = make("article"), image = Object.assign(make("img"), { alt: "" });
  item.dataset.picture = picture;
  item.append(make("strong"), make("span"), image);
  load(image, picture).then((there) => {
    if (there) return;
    image.remove();
    delete item.dataset.picture;
  });
  return item;
}

// What the person says

// The part that the person means: who pressed at the moment of a change meant the one before.
const meant = () => (!pinned && before && Date.now() - changed < REACTION ? before : shown);

async function correct(part, verdict) {
  if (!part) return;
  const person = find("person").value.trim();
  if (!person) {
    asked = () => correct(part, verdict);
    pin(part);
    tell(say("name_first"), true);
    return find("person").focus();
  }
  try {
    const body = JSON.stringify({ verdict, person });
    const headers = { "Content-Type": "application/json" };
    const answer = await ask(`station/parts/${part.number}/correction`, { method: "POST", body, headers });
    const now = await answer.json();
    if (part.number === shown?.number) refresh(now);
    if (!pinned) hold = Math.max(hold, Date.now() + 3 * LEAST);
    tell(say(verdict ? "kept" : "taken_back", { part: part.name }));
  } catch (error) {
    tell(say("not_kept", { detail: error instanceof Refused ? error.message : say("out_of_touch", { time: clock() }) }), true);
  }
}

let quiet = null;
function tell(words, wrong = false) {
  find("message").textContent = words;
  find("message").classList.toggle("wrong", wrong);
  clearTimeout(quiet);
  quiet = setTimeout(() => { find("message").textContent = ""; }, 8000);
}

async function step(by) {
  const number = (shown?.number ?? 0) + by;
  if (number < 1 || number > (state?.last?.number ?? 0)) return;
  try {
    pin(await (await ask(`station/parts/${number}`)).json());
  } catch (error) {
    tell(error.message, true);
  }
}

// Touch, clock, sound, language

const clock = (time = Date.now()) => new Date(time + skew).toLocaleTimeString(
  document.documentElement.lang, { hourCycle: "h23" });

function touch(is) {
  if (is === (touched === null)) return;
  touched = is ? null : Date.now();
  document.body.classList.toggle("lost-touch", !is);
  find("lost").hidden = is;
  if (!is) find("lost").textContent = say("out_of_touch", { time: clock(touched) });
  find("touch").hidden = !is;
}

function showSound() {
  find("mute").textContent = muted() ? say("sound_off") : say("sound_on");
  find("mute").setAttribute("aria-pressed", String(muted()));
  find("unlock").hidden = muted() || allowed();
}

async function choose(name, remember) {
  await speak(name, remember);
  find("language").value = name;
  showSound();
  if (told) take({ ...told, now: (Date.now() + skew) / 1000 });
  else begin();
  if (shown) showPart(), showPictures();
  if (touched !== null) find("lost").textContent = say("out_of_touch", { time: clock(touched) });
}

const KEYS = {
  KeyG: () => correct(meant(), "good"), KeyB: () => correct(meant(), "bad"),
  KeyU: () => shown?.correction && correct(shown, null), KeyM: () => mute(!muted()), Escape: live,
  KeyV: () => lead(find("pictures").lastElementChild),
  ArrowLeft: () => step(-1), ArrowRight: () => step(1),
};

addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select");
  if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || (typing && event.code !== "Escape")) return;
  if (typing) typing.blur();
  const does = KEYS[event.code]; // by the place of the key, whatever alphabet it types
  if (!does) return;
  event.preventDefault(); // where the name is asked for, it would be typed there
  does();
});
for (const [id, verdict] of [["was-good", "good"], ["was-bad", "bad"]]) {
  find(id).onpointerdown = () => { pressed = meant(); };
  find(id).onclick = () => {
    correct(pressed ?? meant(), verdict);
    pressed = null;
  };
}
find("take-back").onclick = KEYS.KeyU;
find("live").onclick = live;
find("earlier").onclick = KEYS.ArrowLeft;
find("later").onclick = KEYS.ArrowRight;
find("mute").onclick = KEYS.KeyM;
find("person").value = localStorage.getItem(PERSON) ?? "";
find("person").onchange = ({ target }) => {
  localStorage.setItem(PERSON, target.value.trim());
  if (target.value.trim()) [asked, pressed] = [asked?.(), null];
};
find("person").onkeydown = ({ key, target }) => key === "Enter" && target.blur();
find("language").append(...Object.entries(LANGUAGES).map(([name, own]) => new Option(own, name)));
find("language").onchange = ({ target }) => choose(target.value, true);

const stream = new Stream("station/events", ask, take, touch);
find("key-form").onsubmit = (event) => {
  event.preventDefault();
  setKey(find("key").value.trim());
  stream.start();
};
// A page that nobody sees or hears leaves its connection to others: a browser has six for a service.
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") stream.start();
  else if (muted() || !allowed()) stream.stop();
});
setInterval(() => {
  find("clock").textContent = clock();
  showAge();
}, 1000);
prepare(showSound);
await choose(preferred(), false);
stream.start();
