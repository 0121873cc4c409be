// Anomaly maps as numbers and as colours.

// Every eighth of matplotlib's inferno, which inference_code.visualization uses; between them colours are mixed.
const INFERNO = [
  [0, 0, 3], [32, 12, 74], [87, 15, 109], [137, 34, 105], [187, 55, 84], [227, 88, 50], [249, 140, 9], [248, 201, 49],
  [252, 254, 164],
];
const COLOURS = Array.from({ length: 256 }, (_, index) => {
  const place = index / 255 * (INFERNO.length - 1);
  const below = Math.min(Math.floor(place), INFERNO.length - 2);
  return INFERNO[below].map((value, channel) => value + (INFERNO[below + 1][channel] - value) * (place - below));
});
const OUTLINE = [0, 229, 255];
const OPACITY = 0.55;
const UNSEEN = [48, 48, 48]; // where the map has no score
const EDGE = [255, 255, 255]; // around what is looked at
const DIMMED = 0.35;

// The colour of a number from 0 to 1.
export const colour = (part) => COLOURS[Math.round(Math.min(Math.max(part, 0), 1) * 255)];

// The raw scores of a map in a grey picture, stretched to a width and a height: between the middles of its pixels they
// are interpolated, as training_code.data.geometry.resize_map does where it makes a map larger. What is transparent was
// not looked at: it has no score, which is NaN.
export function readMap(picture, [low, high], width, height) {
  const canvas = new OffscreenCanvas(picture.width, picture.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const pixels = context.getImageData(0, 0, picture.width, picture.height).data;
  const along = (count, from) => Array.from({ length: count }, (_, index) => {
    const place = Math.min(Math.max((index + 0.5) * from / count - 0.5, 0), from - 1);
    const first = Math.floor(place);
    return [first, Math.min(first + 1, from - 1), place - first];
  });
  const columns = along(width, picture.width), rows = along(height, picture.height);
  const grey = (row, column) => pixels[4 * (row * picture.width + column)];
  const seen = (row, column) => pixels[4 * (row * picture.width + column) + 3] > 0;
  const scores = new Float32Array(width * height);
  let index = 0;
  for (const [top, bottom, down] of rows) {
    for (const [left, right, across] of columns) {
      const own = [down < 0.5 ? top : bottom, across < 0.5 ? left : right];
      if (!seen(...own)) {
        scores[index++] = NaN;
        continue;
      }
      const at = (row, column) => seen(row, column) ? grey(row, column) : grey(...own);
      const above = at(top, left) + (at(top, right) - at(top, left)) * across;
      const below = at(bottom, left) + (at(bottom, right) - at(bottom, left)) * across;
      scores[index++] = low + (high - low) * (above + (below - above) * down) / 255;
    }
  }
  return scores;
}

// The scores as colours, from 0 to `top`.
export function drawHeat(canvas, scores, width, height, top) {
  const pixels = new ImageData(width, height);
  pixels.data.fill(255);
  scores.forEach((score, index) => pixels.data.set(Number.isNaN(score) ? UNSEEN : colour(score / top), 4 * index));
  put(canvas, pixels);
}

// The image, with colours over the pixels that reach the threshold and a line around them; dark where it has no score.
export function drawOverlay(canvas, image, scores, threshold, top) {
  const { width, height } = image;
  const pixels = new ImageData(new Uint8ClampedArray(image.data), width, height);
  const abnormal = (column, row) => column >= 0 && row >= 0 && column < width && row < height
    && scores[row * width + column] >= threshold;
  const unseen = (column, row) => column >= 0 && row >= 0 && column < width && row < height
    && Number.isNaN(scores[row * width + column]);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const place = 4 * (row * width + column);
      if (unseen(column, row)) {
        for (let channel = 0; channel < 3; channel++) pixels.data[place + channel] *= DIMMED;
        continue;
      }
      if (unseen(column - 1, row) || unseen(column + 1, row) || unseen(column, row - 1) || unseen(column, row + 1)) {
        pixels.data.set(EDGE, place);
      }
      if (!abnormal(column, row)) continue;
      const inside = abnormal(column - 1, row) && abnormal(column + 1, row) && abnormal(column, row - 1)
        && abnormal(column, row + 1);
      const index = row * width + column;
      const over = inside ? colour(scores[index] / top) : OUTLINE;
      const opacity = inside ? OPACITY : 1;
      for (let channel = 0; channel < 3; channel++) {
        pixels.data[4 * index + channel] += (over[channel] - pixels.data[4 * index + channel]) * opacity;
      }
    }
  }
  put(canvas, pixels);
}

function put(canvas, pixels) {
  canvas.width = pixels.width;
  canvas.height = pixels.height;
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}
