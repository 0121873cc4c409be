// The words of the page, from a file a language.

const LANGUAGE = "station-language";
export const LANGUAGES = { en: "English", de: "Deutsch", ru: "Русский" };

let words = {};
export let language = "en";

export function preferred() {
  const wanted = [localStorage.getItem(LANGUAGE), ...navigator.languages.map((name) => name.slice(0, 2).toLowerCase())];
  return wanted.find((name) => name in LANGUAGES) ?? "en";
}

export async function speak(name, remember = false) {
  words = await (await fetch(`station/${name}.json`)).json();
  language = document.documentElement.lang = name;
  if (remember) localStorage.setItem(LANGUAGE, name);
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = words[element.dataset.word];
  for (const element of document.querySelectorAll("[data-label]")) {
    element.title = words[element.dataset.label];
    element.setAttribute("aria-label", words[element.dataset.label]);
  }
}

// The words of a key, with values in the places of {names}.
export const say = (key, values = {}) => words[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
export const count = (value) => value.toLocaleString(language);
