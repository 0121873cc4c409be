// Requests with the key that was typed into this tab, and pictures, a few at a time.

const KEY = "api-key"; // of the other page of the service, too
const AT_ONCE = 4; // pictures; browsers open six connections to a service, of which the stream of events has one
const AGAIN = [150, 400, 1000, 2500]; // milliseconds until a photograph is asked for again that is still being moved

export class Refused extends Error {}

export const setKey = (key) => sessionStorage.setItem(KEY, key);

export async function ask(path, { headers = {}, ...options } = {}) {
  const key = sessionStorage.getItem(KEY);
  const response = await fetch(path, {
    cache: "no-store", ...options, headers: { ...headers, ...(key ? { "X-API-Key": key } : {}) },
  });
  if (response.status === 401) document.getElementById("key-form").hidden = false;
  if (!response.ok) {
    const { detail } = await response.json().catch(() => ({}));
    throw Object.assign(new Refused(detail ?? `status ${response.status}`), {
      status: response.status, refused: response.status === 401,
    });
  }
  document.getElementById("key-form").hidden = true;
  return response;
}

const waiting = [];
let loading = 0;

function next() {
  while (loading < AT_ONCE && waiting.length) {
    loading += 1;
    waiting.shift()().finally(() => {
      loading -= 1;
      next();
    });
  }
}

// Show a picture in an element of the page, unless `signal` ends that before; true if there is one.
export function load(image, path, signal, patient = false) {
  return new Promise((done) => {
    waiting.push(async () => done(await fetchPicture(image, path, signal, patient ? [...AGAIN] : [])));
    next();
  });
}

async function fetchPicture(image, path, signal, again) {
  while (!signal?.aborted) {
    try {
      const address = URL.createObjectURL(await (await ask(path, { signal })).blob());
      image.onload = () => URL.revokeObjectURL(address);
      image.src = address;
      await image.decode();
      return true;
    } catch (error) {
      if (signal?.aborted || !again.length) return false;
      await new Promise((passed) => setTimeout(passed, again.shift()));
    }
  }
  return false;
}
