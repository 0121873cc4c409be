// Sounds when something is found, made here. Browsers allow them once somebody has touched the page or a key.

const MUTED = "station-muted";
// Hertz and seconds of tones: something was found; a part was not seen as a whole.
const TONES = { bad: [[880, 0.18], [587, 0.18], [880, 0.18], [587, 0.35]], doubt: [[392, 0.35]] };

let context = null;
let changed = () => {};

export const muted = () => localStorage.getItem(MUTED) === "1";
export const allowed = () => context?.state === "running";

export function mute(value) {
  localStorage.setItem(MUTED, value ? "1" : "0");
  changed();
}

// Call `then` whenever sound becomes possible, or is muted.
export function prepare(then) {
  changed = then;
  const begin = () => {
    context ??= new AudioContext();
    context.onstatechange = changed;
    if (context.state !== "running") context.resume().then(changed, () => {});
  };
  for (const gesture of ["pointerup", "keydown"]) addEventListener(gesture, begin, { capture: true });
}

export function play(name) {
  if (muted() || !allowed()) return;
  let time = context.currentTime;
  for (const [frequency, seconds] of TONES[name]) {
    const tone = new OscillatorNode(context, { type: "square", frequency }), loudness = new GainNode(context);
    loudness.gain.setValueAtTime(0.25, time);
    loudness.gain.exponentialRampToValueAtTime(0.001, time + seconds);
    tone.connect(loudness).connect(context.destination);
    tone.start(time);
    tone.stop(time + seconds);
    time += seconds;
  }
}
